import { existsSync } from 'node:fs'
import { driverSuite } from '@virtio-ts/conformance'
import { BlockDriver, blockSpec } from '@virtio-ts/driver-block'
import { afterEach, describe, expect, it } from 'vitest'
import { type DiskFace, diskSuite, mixSuite } from '../support/disk-suite.ts'
import { ProgramDisk } from '../support/program-disk.ts'
import { resizeSuite, storageSuite } from '../support/storage-suite.ts'

const REQUESTS = 200

describe('our own back-end program with a disk', () => {
  const has = ['VERSION_1', 'EVENT_IDX', 'INDIRECT_DESC', 'DISCARD', 'WRITE_ZEROES', 'FLUSH', 'CONFIG_WCE']
  const face = (words: readonly string[], rest: Omit<DiskFace, 'start' | 'id'>): DiskFace => ({
    has,
    ...rest,
    id: 'virtio-ts',
    start: () => ProgramDisk.start(words),
  })
  const faces = [
    face([], { name: 'one queue', hasNot: ['RING_PACKED', 'MQ', 'RO'] }),
    face(['--num-queues=4'], { name: 'four queues', has: [...has, 'MQ'], queues: 4 }),
    face(['--block-size=4096'], { name: 'blocks of 4096 bytes', blockSize: 4096 }),
    face(['--packed', '--num-queues=2'], { name: 'packed', has: [...has, 'RING_PACKED'], queues: 2 }),
  ]

  for (const one of faces) {
    diskSuite({ ...one, name: `our back-end, ${one.name}` })
    mixSuite(one, 10_000)
  }

  driverSuite('our back-end', {
    spec: blockSpec,
    rounds: 4,
    attach: async () => {
      const disk = await ProgramDisk.start(['--num-queues=4'])
      return { transport: await disk.endpoint.connect({ wait: true }), dispose: () => disk.close() }
    },
    open: (transport, options) => BlockDriver.open(transport, options),
    use: async (driver) => {
      const data = new Uint8Array(4096).fill(7)
      await driver.write(4096, data)
      expect(await driver.read(4096, 4096)).toEqual(data)
    },
  })

  storageSuite(({ readOnly = false } = {}) => ProgramDisk.start(readOnly ? ['--read-only'] : []))
  resizeSuite(() => ProgramDisk.start())

  describe('that ends', () => {
    let disk: ProgramDisk | undefined
    afterEach(() => disk?.close())

    it('does so cleanly at SIGTERM: what was written is in the image, the socket is gone, and the next one is found', async () => {
      disk = await ProgramDisk.start()
      const driver = await disk.open()
      await driver.write(4096, new Uint8Array(65_536).fill(0x77))
      const gone = new Promise<string>((resolve) => driver.on('fault', ({ code }) => resolve(code)))
      expect(await disk.program.terminate()).toBe(0)
      expect(await gone).toBe('device.gone')
      expect(existsSync(disk.path)).toBe(false)
      expect(disk.stored(4096, 65_536).every((byte) => byte === 0x77)).toBe(true)
      await driver.close()
      const next = disk.open()
      await disk.launchAgain()
      const again = await next
      expect((await again.read(4096, 65_536)).every((byte) => byte === 0x77)).toBe(true)
      await again.close()
    })

    it(`V6 by SIGKILL with ${REQUESTS} requests in flight: each settles once, and what was flushed is there`, async () => {
      disk = await ProgramDisk.start(['--num-queues=2'])
      const driver = await disk.open()
      await driver.write(0, new Uint8Array(REQUESTS * 4096).fill(1))
      await driver.flush()
      disk.program.signal('SIGSTOP')
      const settled = new Array<number>(REQUESTS).fill(0)
      const codes: unknown[] = []
      const all = settled.map((_, n) =>
        driver.write(n * 4096, new Uint8Array(4096).fill(2)).then(
          () => settled[n]!++,
          ({ code }: { code: unknown }) => {
            settled[n]!++
            codes.push(code)
          },
        ),
      )
      await disk.kill()
      await Promise.all(all)
      expect(settled).toEqual(new Array(REQUESTS).fill(1))
      // It was stopped before it could answer any.
      expect(codes).toEqual(new Array(REQUESTS).fill('device.gone'))
      await driver.close()
      await disk.launchAgain()
      const again = await disk.open()
      const found = await again.read(0, REQUESTS * 4096)
      expect(found.every((byte) => byte === 1)).toBe(true)
      await again.close()
    })
  })
})
