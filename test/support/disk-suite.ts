import { blockMix, blockSuite } from '@virtio-ts/conformance'
import { describe, expect, it } from 'vitest'
import type { TestDisk } from './test-disk.ts'

/** One way in which a disk can show itself to the driver. */
export interface DiskFace {
  readonly name: string
  readonly start: () => Promise<TestDisk>
  readonly blockSize?: number
  /** What `deviceId()` says. */
  readonly id?: string
  /** What must have been negotiated, or not, for the test to be about what it says. */
  readonly has?: readonly string[]
  readonly hasNot?: readonly string[]
  readonly queues?: number
}

/** What the block driver does on every disk. */
export function diskSuite(face: DiskFace): void {
  const open: TestDisk[] = []
  blockSuite(face.name, {
    blockSize: face.blockSize ?? 512,
    ...(face.id !== undefined && { id: face.id }),
    open: async (options) => {
      // One of its own: tests give it other sizes.
      const disk = await face.start()
      open.push(disk)
      return {
        disk: await disk.open(options),
        stored: (offset, length) => disk.stored(offset, length),
        ...(disk.resize && { resize: (capacity: number) => disk.resize?.(capacity) }),
        allocatedBytes: () => disk.allocatedBytes(),
        dispose: () => disk.close(),
      }
    },
  })
}

/** Many operations at random, against a copy; then the image itself. */
export function mixSuite(face: DiskFace, operations: number): void {
  describe(face.name, () => {
    it(`agrees with a copy, byte for byte, after ${operations} random operations`, async () => {
      const disk = await face.start()
      try {
        const driver = await disk.open()
        const { features, queues } = driver.describe()
        expect(features).toEqual(expect.arrayContaining([...(face.has ?? [])]))
        for (const name of face.hasNot ?? []) expect(features).not.toContain(name)
        expect(queues.length).toBe(face.queues ?? 1)
        const counts = await blockMix(driver, { operations, seed: 42 })
        expect(Object.keys(counts).length).toBe(8)
        expect(Object.values(counts).reduce((sum, count) => sum + count)).toBe(operations)
        const { capacity } = driver
        const whole = await driver.read(0, capacity)
        const { queues: after } = driver.describe()
        expect(after.map(({ used }) => used)).toEqual(after.map(({ added }) => added))
        expect(after.every(({ added }) => (added ?? 0) > 0)).toBe(true)
        await driver.close()
        // The image itself is what the driver says it is.
        expect(Buffer.compare(disk.stored(0, capacity), whole)).toBe(0)
      } finally {
        await disk.close()
      }
    })
  })
}
