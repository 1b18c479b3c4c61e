import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openBench, parseLocator, type QemuLocator } from '@virtio-ts/device-locator'
import { NbdServer } from '@virtio-ts/nbd'
import { expect, it } from 'vitest'
import { blockDevice } from '../../apps/blkd/src/disk/block-device.ts'
import { blockExport } from '../../apps/blkd/src/disk/block-export.ts'
import { Disk, type DiskEvent } from '../../apps/blkd/src/disk/disk.ts'
import { NbdClient } from '../../packages/nbd/src/nbd-client.fixture.ts'
import { requirement } from '../requirements.ts'
import { emptyImage } from '../support/served-devices.ts'

const MIB = 2 ** 20
const [WRITE, FLUSH] = [1, 3] as const
const [EIO, ENOSPC] = [5, 28] as const

// In this process, because QEMU's monitor is its bench's.
requirement('qemu')('a served disk of QEMU', () => {
  async function serve(use: (parts: Served) => Promise<void>): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'blkd-resize-'))
    const locator = parseLocator(`qemu:virtio-blk-pci;drive=${emptyImage(folder, 16 * MIB)}`) as QemuLocator
    const device = await openBench(blockDevice().bench(locator))
    const events: DiskEvent[] = []
    const disk = await Disk.open(device, { onEvent: (event) => events.push(event) }, new AbortController().signal)
    const nbd = new NbdServer({ exports: [blockExport(disk)] })
    const socket = join(folder, 'nbd')
    await new Promise<void>((resolve) => nbd.server.listen(socket, resolve))
    const clients: NbdClient[] = []
    const open = async (): Promise<NbdClient> => {
      const client = await NbdClient.open(socket)
      clients.push(client)
      return client
    }
    const { qmp } = device.bench
    try {
      await use({ open, events, disk, execute: (command, args) => qmp.execute(command as never, args as never) })
    } finally {
      for (const client of clients) client.close()
      await nbd.close(1000)
      await disk.stop(1000).catch(() => {})
      rmSync(folder, { recursive: true })
    }
  }

  interface Served {
    readonly open: () => Promise<NbdClient>
    readonly events: readonly DiskEvent[]
    readonly disk: Disk
    readonly execute: (command: string, args: object) => Promise<unknown>
  }

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  it('tells its new size to those who connect then, and refuses what is not there any more', async () => {
    await serve(async ({ open, events, execute }) => {
      const old = await open()
      const data = Buffer.alloc(4096, 7)
      await execute('block_resize', { device: 'drive0', size: 32 * MIB })
      await until(() => events.length === 1)
      expect(events).toEqual([{ event: 'resize', capacity: 32 * MIB }])
      const larger = await open()
      expect([old.size, larger.size]).toEqual([16 * MIB, 32 * MIB])
      await larger.write(32 * MIB - 4096, data)
      expect(await old.errnoOf(WRITE, 16 * MIB, 4096, { data })).toBe(ENOSPC)
      await execute('block_resize', { device: 'drive0', size: 8 * MIB })
      await until(() => events.length === 2)
      expect(await old.errnoOf(WRITE, 8 * MIB, 4096, { data })).toBe(ENOSPC)
      await old.write(8 * MIB - 4096, data)
      expect((await open()).size).toBe(8 * MIB)
    })
  })

  it('ends when it is unplugged: requests fail, nobody hangs', async () => {
    await serve(async ({ open, events, disk, execute }) => {
      const client = await open()
      await client.write(0, Buffer.alloc(4096, 7))
      await execute('quit', {}).catch(() => {})
      expect(await disk.ended).toMatchObject({ code: 'device.gone' })
      expect(events).toMatchObject([{ event: 'fault', code: 'device.gone' }])
      expect(await client.errnoOf(FLUSH, 0, 0)).toBe(EIO)
      await expect(open()).rejects.toThrow('not there at the moment')
    })
  })
})
