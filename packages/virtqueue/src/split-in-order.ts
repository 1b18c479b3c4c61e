import type { VirtioError } from '@virtio-ts/spec'
import type { DeviceArea } from './device-area.ts'
import { Counter, type QueueBooks, Shadow } from './queue-books.ts'
import { ringError } from './ring-error.ts'
import type { UsedBatch } from './virtqueue.ts'

const { COOKIE, CAPACITY, COUNT } = Shadow

/**
 * Takes used buffers of a split ring whose device keeps the order. One element may stand for a batch: it lies where the batch's first
 * one would, and names the last chain. There is no free list to keep: descriptors come back as they went, around the table.
 * @see VIRTIO 1.3 § 2.7.9 "In-order use of descriptors"
 */
export class SplitInOrder {
  readonly #books: QueueBooks
  readonly #deviceArea: DeviceArea
  readonly #strict: boolean
  /** Head of the oldest chain that is out. */
  #oldest = 0
  /** Chains not yet given back of a batch whose element was read: it is not read again. */
  #left = 0
  /** Bytes written into the last of them. */
  #lastWritten = 0
  #violation: VirtioError | undefined

  constructor(books: QueueBooks, deviceArea: DeviceArea, strict: boolean) {
    this.#books = books
    this.#deviceArea = deviceArea
    this.#strict = strict
  }

  /** What was wrong about the chain after those that `take` took last, if anything. */
  get violation(): VirtioError | undefined {
    return this.#violation
  }

  reset(): void {
    this.#oldest = 0
    this.#left = 0
    this.#violation = undefined
  }

  /**
   * @param used chains the device's idx says are used, never more than are out
   * @param index of the first of them
   * @returns how many were taken
   */
  take(batch: UsedBatch, used: number, index: number): number {
    const books = this.#books
    const { cookies, written } = batch
    const { shadow } = books
    const mask = books.size - 1
    const limit = used < cookies.length ? used : cookies.length
    let oldest = this.#oldest
    let left = this.#left
    let freed = 0
    let count = 0
    for (; count < limit; count++) {
      if (left === 0) {
        const slot = (index + count) & mask
        const id = this.#deviceArea.usedId(slot)
        this.#violation = this.#judge(id, slot, oldest, used - count)
        if (this.#violation !== undefined) break
        left = this.#left
      }
      left--
      const head = oldest << 2
      const descriptors = shadow[head + COUNT]!
      cookies[count] = shadow[head + COOKIE]!
      // Those that were skipped count as used completely.
      written[count] = left === 0 ? this.#lastWritten : shadow[head + CAPACITY]!
      shadow[head + COUNT] = 0
      freed += descriptors
      oldest = (oldest + descriptors) & mask
    }
    this.#oldest = oldest
    this.#left = left
    books.freeCount += freed
    return count
  }

  /** What is wrong about an element, each field of which is read once. Otherwise the batch it stands for is in `#left`. */
  #judge(id: number, slot: number, oldest: number, used: number): VirtioError | undefined {
    const { shadow, size, origin, counters } = this.#books
    if (id >= size) return ringError('ring.id-range', origin, { id, size })
    if (shadow[(id << 2) + COUNT]! <= 0) return ringError('ring.not-head', origin, { id })
    let chains = 1
    for (let head = oldest; head !== id; chains++) {
      if (chains === used) return ringError('ring.order', origin, { id, used })
      head = (head + shadow[(head << 2) + COUNT]!) & (size - 1)
    }
    let length = this.#deviceArea.usedLength(slot)
    const capacity = shadow[(id << 2) + CAPACITY]! >>> 0
    if (length > capacity) {
      if (this.#strict && capacity !== 0) return ringError('ring.length', origin, { id, written: length, capacity })
      length = capacity
      counters[Counter.CLAMPED]!++
    }
    this.#left = chains
    this.#lastWritten = length
    return undefined
  }
}
