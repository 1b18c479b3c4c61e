import { PackedRing, type VirtioError } from '@virtio-ts/spec'
import type { PackedDeviceArea } from './packed-device-area.ts'
import { Counter, type QueueBooks, Shadow } from './queue-books.ts'
import { ringError } from './ring-error.ts'
import type { UsedBatch } from './virtqueue.ts'

const { COOKIE, CAPACITY, COUNT } = Shadow
const USED_MASK = (PackedRing.DESC_F_AVAIL | PackedRing.DESC_F_USED) << 16
const WRITE = PackedRing.DESC_F_WRITE << 16
const ID_AND_WRITE = WRITE | 0xffff

/**
 * Takes used buffers of a packed ring whose device keeps the order. One used descriptor may stand for a batch: it lies where the
 * batch's first one was, and has the id of the last chain. Ids go round like descriptors, one for each chain.
 * @see VIRTIO 1.3 § 2.8.8 "In-order use of descriptors"
 */
export class PackedInOrder {
  readonly #books: QueueBooks
  readonly #deviceArea: PackedDeviceArea
  readonly #driverEvents: Uint32Array
  readonly #strict: boolean
  /** Used descriptors found: id, and WRITE as it stood there. */
  readonly #found: Int32Array
  #foundCount = 0
  /** Id of the oldest chain that is out. */
  #oldest = 0
  /** Chains not yet given back of a batch whose descriptor was read: it is not read again. */
  #left = 0
  /** Bytes written into the last of them. */
  #lastWritten = 0
  #position = 0
  #violation: VirtioError | undefined

  constructor(books: QueueBooks, deviceArea: PackedDeviceArea, driverEvents: Uint32Array, strict: boolean) {
    this.#books = books
    this.#deviceArea = deviceArea
    this.#driverEvents = driverEvents
    this.#strict = strict
    this.#found = new Int32Array(books.size)
  }

  /** Chains that are known to be used. */
  get left(): number {
    return this.#left
  }

  /** Position on the circle behind the chains that `take` took last. */
  get position(): number {
    return this.#position
  }

  /** What was wrong about the chain after those, if anything. */
  get violation(): VirtioError | undefined {
    return this.#violation
  }

  reset(): void {
    this.#oldest = 0
    this.#left = 0
    this.#violation = undefined
  }

  /**
   * @param position on the circle, of the oldest chain's first descriptor
   * @returns how many were taken
   */
  take(batch: UsedBatch, position: number): number {
    const books = this.#books
    const { cookies, written } = batch
    const { shadow, size } = books
    const limit = cookies.length
    this.#violation = this.#find(position, limit)
    // A full barrier between what is used and what was written; the value is of no interest.
    Atomics.load(this.#driverEvents, 0)
    const found = this.#foundCount
    let oldest = this.#oldest
    let left = this.#left
    let taken = 0
    let freed = 0
    let at = position
    let count = 0
    for (; count < limit; count++) {
      if (left === 0) {
        if (taken === found) break
        const wrong = this.#judge(this.#found[taken++]!, at < size ? at : at - size, oldest)
        if (wrong !== undefined) {
          this.#violation = wrong
          break
        }
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
      at += descriptors
      if (at >= 2 * size) at -= 2 * size
      oldest = oldest + 1 < size ? oldest + 1 : 0
    }
    this.#oldest = oldest
    this.#left = left
    books.freeCount += freed
    this.#position = at
    return count
  }

  /** Looks for used descriptors, from behind the batch that is not given back yet, until they stand for `limit` chains. */
  #find(position: number, limit: number): VirtioError | undefined {
    const { shadow, size, origin, outstandingCount } = this.#books
    let next = this.#oldest
    let at = position
    let known = 0
    let found = 0
    let chains = this.#left
    let violation: VirtioError | undefined
    for (;;) {
      known += chains
      for (; chains > 0; chains--) {
        at += shadow[(next << 2) + COUNT]!
        next = next + 1 < size ? next + 1 : 0
      }
      if (at >= 2 * size) at -= 2 * size
      if (known >= limit) break
      const word = this.#deviceArea.usedWord(at < size ? at : at - size)
      if ((word & USED_MASK) !== (at < size ? USED_MASK : 0)) break
      const id = word & 0xffff
      if (id >= size) {
        violation = ringError('ring.id-range', origin, { id, size })
        break
      }
      chains = (id >= next ? id - next : id - next + size) + 1
      // Further on than all that is out: one that came back already, in this call or before.
      if (shadow[(id << 2) + COUNT]! <= 0 || chains > outstandingCount - known) {
        violation = ringError('ring.not-head', origin, { id })
        break
      }
      this.#found[found++] = word & ID_AND_WRITE
    }
    this.#foundCount = found
    return violation
  }

  /** What is wrong about a used descriptor's length. Otherwise the batch it stands for is in `#left`. */
  #judge(word: number, slot: number, oldest: number): VirtioError | undefined {
    const { shadow, size, origin, counters } = this.#books
    const id = word & 0xffff
    let length = this.#deviceArea.usedLength(slot)
    const capacity = shadow[(id << 2) + CAPACITY]! >>> 0
    if (length > capacity) {
      // VIRTIO 1.3 § 2.8.4 "Element Address and Length": without WRITE it is no length, as in `PackedVirtqueue.popUsed`.
      const claimed = (word & WRITE) !== 0
      if (this.#strict && claimed && capacity !== 0)
        return ringError('ring.length', origin, { id, written: length, capacity })
      length = claimed ? capacity : 0
      counters[Counter.CLAMPED]!++
    }
    this.#left = (id >= oldest ? id - oldest : id - oldest + size) + 1
    this.#lastWritten = length
    return undefined
  }
}
