import { afterEach, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { QemuDisk, type QemuDiskOptions } from '../support/block-bench.ts'

const MiB = 2 ** 20
const disks: QemuDisk[] = []

async function start(options?: QemuDiskOptions): Promise<QemuDisk> {
  const disk = await QemuDisk.start(options)
  disks.push(disk)
  return disk
}

requirement('qemu')('what a disk of QEMU keeps', () => {
  afterEach(async () => {
    for (const disk of disks.splice(0)) await disk.close()
  })

  it('takes less room after a discard, and after zeroes that may unmap', async () => {
    const disk = await start()
    const driver = await disk.open()
    const data = new Uint8Array(8 * MiB).fill(0xa5)
    await driver.write(0, data)
    await driver.flush()
    const full = disk.allocated()
    expect(full).toBeGreaterThanOrEqual(8 * MiB)
    await driver.discard(0, 4 * MiB)
    await driver.flush()
    const discarded = disk.allocated()
    expect(discarded).toBeLessThanOrEqual(full - 4 * MiB + 65536)
    expect(driver.mayUnmap).toBe(true)
    await driver.writeZeroes(4 * MiB, 2 * MiB, { unmap: true })
    await driver.flush()
    expect(disk.allocated()).toBeLessThanOrEqual(discarded - 2 * MiB + 65536)
    await driver.writeZeroes(6 * MiB, 2 * MiB)
    expect((await driver.read(4 * MiB, 4 * MiB)).every((byte) => byte === 0)).toBe(true)
    await driver.close()
  })

  it('is told of a new size, larger and smaller', async () => {
    const disk = await start()
    const driver = await disk.open()
    const sizes: number[] = []
    let told: () => void = () => {}
    driver.on('resize', (capacity) => {
      sizes.push(capacity)
      told()
    })
    for (const size of [32 * MiB, 8 * MiB]) {
      const heard = new Promise<void>((resolve) => (told = resolve))
      await disk.resize(size)
      await heard
      expect(driver.capacity).toBe(size)
    }
    expect(sizes).toEqual([32 * MiB, 8 * MiB])
    await expect(driver.read(8 * MiB, 512)).rejects.toMatchObject({ code: 'block.out-of-range' })
    await driver.close()
  })

  it('cannot be written where it is read-only', async () => {
    const disk = await start({ drive: 'file={image},format=raw,readonly=on' })
    const driver = await disk.open()
    expect(driver.readOnly).toBe(true)
    expect(await driver.read(0, 4096)).toEqual(new Uint8Array(4096))
    for (const change of [
      driver.write(0, new Uint8Array(512)),
      driver.discard(0, 4096),
      driver.writeZeroes(0, 4096),
      driver.writeFrom(0, driver.allocate(512)),
    ]) {
      await expect(change).rejects.toMatchObject({ code: 'block.read-only' })
    }
    await driver.flush()
    await driver.close()
    // Who leaves RO out is told by the device itself.
    const daring = await disk.open({ withoutFeatures: ['RO'] })
    await expect(daring.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'block.io-error' })
    await daring.close()
  })

  it('switches its cache', async () => {
    const disk = await start()
    const driver = await disk.open()
    expect(driver.cache).toBe('writeback')
    const cache = (): Promise<unknown> =>
      disk.qemu.qmp
        .execute<{ inserted: { cache: { writeback: boolean } } }[]>('query-block')
        .then(([drive]) => drive?.inserted.cache.writeback)
    await driver.setWriteCache('writethrough')
    expect([driver.cache, await cache()]).toEqual(['writethrough', false])
    await driver.setWriteCache('writeback')
    expect([driver.cache, await cache()]).toEqual(['writeback', true])
    await driver.close()
  })

  describe('what QEMU does not offer', () => {
    it('is refused with a code', async () => {
      const disk = await start()
      const driver = await disk.open()
      for (const refused of [driver.secureErase(0, 512), driver.lifetime(), driver.zones(), driver.resetAllZones()]) {
        await expect(refused).rejects.toMatchObject({ code: 'block.unsupported' })
      }
      await driver.close()
    })
  })
})
