import { blockMix, blockSuite, driverSuite } from '@virtio-ts/conformance'
import { BlockDriver, blockSpec } from '@virtio-ts/driver-block'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { QemuDisk, type QemuDiskOptions } from '../support/block-bench.ts'

interface Face extends QemuDiskOptions {
  readonly name: string
  readonly blockSize?: number
  /** What must have been negotiated, or not, for the test to be about what it says. */
  readonly has?: readonly string[]
  readonly hasNot?: readonly string[]
  readonly queues?: number
}

const faces: readonly Face[] = [
  { name: 'modern', has: ['VERSION_1', 'EVENT_IDX', 'DISCARD'], hasNot: ['RING_PACKED'] },
  { name: 'legacy', properties: 'disable-modern=on', hasNot: ['VERSION_1'] },
  { name: 'packed', properties: 'disable-legacy=on,packed=on', has: ['RING_PACKED'] },
  { name: 'four queues', properties: 'disable-legacy=on,num-queues=4', has: ['MQ'], queues: 4 },
  {
    name: 'blocks of 4096 bytes',
    properties: 'disable-legacy=on,logical_block_size=4096,physical_block_size=4096',
    blockSize: 4096,
  },
  { name: 'transitional, by its legacy interface', properties: 'event_idx=off,indirect_desc=off', interface: 'legacy' },
]

/** 100,000 in all over the first five. */
const OPERATIONS = 20_000

// The same suites that the models pass: what works there works on QEMU's device too.
requirement('qemu')('the block suites on QEMU', () => {
  describe.each(faces)('$name', (face) => {
    let disk: QemuDisk

    beforeAll(async () => {
      disk = await QemuDisk.start(face)
    })
    afterAll(() => disk?.close())

    blockSuite(`QEMU ${face.name}`, {
      blockSize: face.blockSize ?? 512,
      id: 'qemu-disk',
      open: async (options) => ({
        disk: await disk.open(options),
        stored: (offset, length) => disk.stored(offset, length),
        resize: (capacity) => disk.resize(capacity),
        allocatedBytes: () => disk.fn.dma.stats.allocatedBytes,
      }),
    })
  })

  describe.each(faces.filter(({ name }) => name === 'four queues' || name === 'legacy'))('$name', (face) => {
    driverSuite(`QEMU ${face.name}`, {
      spec: blockSpec,
      rounds: 4,
      // A bench of its own for each: some tests leave the device in a sorry state.
      attach: async () => {
        const disk = await QemuDisk.start(face)
        const transport = await VirtioPciDriver.attach(disk.fn, { interface: face.interface ?? 'auto' })
        return { transport, dispose: () => disk.close() }
      },
      open: (transport, options) => BlockDriver.open(transport, options),
      use: async (driver) => {
        const data = new Uint8Array(4096).fill(7)
        await driver.write(4096, data)
        expect(await driver.read(4096, 4096)).toEqual(data)
      },
    })
  })

  describe.each(faces.slice(0, 5))('$name', (face) => {
    it(`agrees with a copy, byte for byte, after ${OPERATIONS} random operations`, async () => {
      const disk = await QemuDisk.start(face)
      try {
        const driver = await disk.open()
        const { features, queues } = driver.describe()
        expect(features).toEqual(expect.arrayContaining([...(face.has ?? [])]))
        for (const name of face.hasNot ?? []) expect(features).not.toContain(name)
        expect(queues.length).toBe(face.queues ?? 1)
        const counts = await blockMix(driver, { operations: OPERATIONS, seed: 42 })
        expect(Object.keys(counts).length).toBe(8)
        expect(Object.values(counts).reduce((sum, count) => sum + count)).toBe(OPERATIONS)
        const { capacity } = driver
        const whole = await driver.read(0, capacity)
        await driver.close()
        // The image itself is what the driver says it is.
        expect(Buffer.compare(disk.stored(0, capacity), whole)).toBe(0)
        for (const { used, added } of queues) expect(used).toBe(added)
      } finally {
        await disk.close()
      }
    })
  })
})
