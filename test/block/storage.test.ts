import { expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { QemuDisk } from '../support/block-bench.ts'
import { StorageDaemonDisk } from '../support/storage-daemon-disk.ts'
import { resizeSuite, storageSuite } from '../support/storage-suite.ts'

requirement('qemu')('what a disk of QEMU keeps', () => {
  storageSuite((needs) => QemuDisk.start(needs))
  resizeSuite(() => QemuDisk.start())

  it('has its cache switched where QEMU says so too', async () => {
    const disk = await QemuDisk.start()
    const driver = await disk.open()
    const cache = (): Promise<unknown> =>
      disk.qemu.qmp
        .execute<{ inserted: { cache: { writeback: boolean } } }[]>('query-block')
        .then(([drive]) => drive?.inserted.cache.writeback)
    await driver.setWriteCache('writethrough')
    expect(await cache()).toBe(false)
    await driver.setWriteCache('writeback')
    expect(await cache()).toBe(true)
    await driver.close()
    await disk.close()
  })
})

requirement('qemu-storage-daemon')('what a disk of qemu-storage-daemon keeps', () => {
  storageSuite((needs) => StorageDaemonDisk.start(needs), { cache: 'writethrough', mayUnmap: false })
})
