import type { UsedBatch, Virtqueue } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'

/** Memory nobody else looks at. */
export function plainMemory(length: number): DmaRegion {
  return { bytes: new Uint8Array(length), deviceAddress: 4096 as DmaRegion['deviceAddress'], length }
}

/** A queue whose device uses every buffer as soon as it has it, and never notifies. */
export function eagerQueue(written: (length: number) => number): Virtqueue {
  const used: { cookie: number; written: number }[] = []
  const add = (_address: unknown, length: number, cookie: number): boolean => {
    used.push({ cookie, written: written(length) })
    return true
  }
  const queue: Partial<Virtqueue> = {
    size: 16,
    addReadable: add,
    addWritable: add,
    publish: () => {},
    popUsed: (batch: UsedBatch) => {
      const count = Math.min(batch.cookies.length, used.length)
      for (const [i, element] of used.splice(0, count).entries()) {
        batch.cookies[i] = element.cookie
        batch.written[i] = element.written
      }
      return count
    },
    disableUsedNotifications: () => {},
    enableUsedNotifications: () => used.length > 0,
  }
  return queue as Virtqueue
}
