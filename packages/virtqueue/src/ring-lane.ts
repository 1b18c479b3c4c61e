import type { DeviceAddress } from '@virtio-ts/memory'
import type { LaneRow, ReadableLane, WritableLane } from './buffer-lane.ts'
import type { QueueBooks } from './queue-books.ts'
import type { UsedBatch } from './virtqueue.ts'

const HIGH = 2 ** 32
const SIGN = 1 << 31

/** What a lane does through its queue, once for each batch. */
export interface LaneQueue {
  readonly books: QueueBooks
  readonly inOrder: boolean
  readonly strict: boolean
  /** Makes the next so many chains available. */
  readonly publish: (count: number) => void
}

/**
 * What lanes of both formats have in common: which place's turn it is.
 *
 * Places stand on a circle in the order in which they are used. Around it go, one behind the other, the oldest place the device has, the
 * next one to be added, and the next one to be reserved. What comes as expected - a used buffer, a commit - moves one of these on, and
 * that is all there is to remember: what lies between two of them has been checked thereby. What comes out of turn changes places with the
 * one that was expected. A device that keeps the order, asked to or not, never makes that happen.
 */
export abstract class RingLane implements ReadableLane, WritableLane {
  readonly count: number = 0
  // Numbers begin as numbers, arrays as arrays: a field that was undefined once is checked at every access.
  protected readonly queue: LaneQueue
  protected readonly books: QueueBooks
  protected readonly writable: boolean = false
  /** Of each buffer. Bytes. */
  protected readonly length: number = 0
  /** Bytes the device may write into each. */
  protected readonly capacity: number = 0
  /** Places in their order around the circle, and where each stands there. */
  protected readonly order: Int32Array = new Int32Array(0)
  readonly #where: Int32Array = new Int32Array(0)
  /** Of chains to be written, by where their places stand. Bytes. */
  protected readonly lengths: Int32Array = new Int32Array(0)
  protected oldest = 0
  /** Places that do not stand where their number says: usually none, and then it needs no look at `order`. */
  #moved = 0
  #addAt = 0
  #reserveAt = 0
  /** Places that can be reserved, in a lane that the device reads. */
  #free = 0
  /** Those that can be renewed, in one that it writes. */
  #idle = 0
  #added = 0
  /** Of those, the ones that are in the ring: the others are written at `publish`, in one go. */
  #written = 0
  /**
   * Chains that have to be written in full, as there was another one where they go: one lap after every change of order. The others are
   * what they were the lap before, but for a length.
   */
  protected unsettled = 0
  /** 0 in a queue whose laps end elsewhere than the circle's: nothing is ever where it was. */
  protected readonly settles: number = 0
  readonly #low: number = 0
  readonly #high: number = 0
  readonly #stride: number = 0

  constructor(queue: LaneQueue, { address, stride, length, count }: LaneRow, writable: boolean) {
    const { books } = queue
    if (!(Number.isInteger(count) && count >= 1 && count <= books.size))
      throw new RangeError(`a lane of ${count} places in a ring of ${books.size}`)
    if (!(length >>> 0 === length && length > 0 && stride >>> 0 === stride && stride * count < HIGH))
      throw new RangeError(`a row of ${count} buffers of ${length} bytes, ${stride} apart`)
    this.queue = queue
    this.books = books
    this.writable = writable
    this.count = count
    this.length = length
    this.capacity = writable ? length : 0
    this.order = Int32Array.from({ length: count }, (_, i) => i)
    this.#where = this.order.slice()
    this.lengths = new Int32Array(count).fill(length)
    this.#free = writable ? 0 : count
    this.#idle = writable ? count : 0
    this.unsettled = books.size
    this.settles = books.size % count === 0 ? 1 : 0
    this.#low = address | 0
    this.#high = Math.floor(address / HIGH)
    this.#stride = stride | 0
    books.open(this)
  }

  get free(): number {
    return this.#free
  }

  /** Chains added and not published. */
  get added(): number {
    return this.#added
  }

  get inFlight(): number {
    return this.books.lane === this ? this.books.outstandingCount + this.#added : 0
  }

  reserve(): number {
    const free = this.#free
    if (free === 0) return -1
    const at = this.#reserveAt
    this.#free = free - 1
    this.#reserveAt = at + 1 < this.count ? at + 1 : 0
    return this.#moved === 0 ? at : this.order[at]!
  }

  isReserved(place: number): boolean {
    const at = this.#where[place]
    return this.closed || (at !== undefined && this.#ahead(at, this.#addAt) < this.count - this.#free - this.inFlight)
  }

  cancel(place: number): void {
    if (this.closed) return
    const at = this.#reservedAt(place)
    const last = (this.#reserveAt > 0 ? this.#reserveAt : this.count) - 1
    this.#exchange(at, last)
    this.#reserveAt = last
    this.#free++
  }

  add(place: number, length: number): boolean {
    // An unsigned 32-bit integer, by comparing integers only.
    if (length >>> 0 !== length || length === 0 || length > this.length) throw this.#lengthError(length)
    const at = this.#addAt
    // Where the two meet none is reserved, or all of them are.
    if ((at === this.#reserveAt || (this.#moved === 0 ? at : this.order[at]) !== place) && !this.#bring(place))
      return false
    this.lengths[at] = length
    this.#addAt = at + 1 < this.count ? at + 1 : 0
    this.#added++
    return true
  }

  addElsewhere(place: number, address: DeviceAddress, length: number): boolean {
    if (length >>> 0 !== length || length === 0) throw this.#lengthError(length)
    if (!this.#bring(place)) return false
    this.#write()
    this.#addAt = this.#addAt + 1 < this.count ? this.#addAt + 1 : 0
    this.#written = ++this.#added
    this.writeElsewhere(place, address | 0, Math.floor(address / HIGH), length)
    this.unsettled = this.books.size
    return true
  }

  renew(count: number): void {
    if (this.closed) return
    if (!(count <= this.#idle)) throw new RangeError(`${count} of ${this.#idle} buffers`)
    this.#idle -= count
    this.#added += count
    this.#written = this.#added
    this.#addAt = this.writeRow(this.#addAt, count)
  }

  publish(): void {
    const added = this.#added
    if (added === 0 || this.closed) return
    this.#write()
    this.#added = 0
    this.#written = 0
    this.queue.publish(added)
  }

  abstract reclaim(): number
  abstract pop(batch: UsedBatch): number

  /** Ends the lane: its queue broke, is another thread's or starts afresh. */
  close(): void {
    this.#free = 0
    this.#idle = 0
    this.#reserveAt = this.#addAt
  }

  /** Places the device has, or would have got. */
  held(): number[] {
    const held = this.inFlight
    return Array.from({ length: held }, (_, i) => this.order[(this.oldest + i) % this.count]!)
  }

  protected get closed(): boolean {
    return this.books.halted || this.books.lane !== this
  }

  protected abstract writeElsewhere(place: number, low: number, high: number, length: number): void
  /** The next chains: the own buffers of places from `at` on around the circle. @returns where they end */
  protected abstract writeRow(at: number, count: number): number

  /** The lower 32 bits of a place's address. */
  protected low(place: number): number {
    return (this.#low + Math.imul(place, this.#stride)) | 0
  }

  /** The upper ones, of the address whose lower ones are `low`: the row is shorter than 4 GiB. */
  protected high(low: number): number {
    return this.#high + ((low ^ SIGN) < (this.#low ^ SIGN) ? 1 : 0)
  }

  /**
   * A place that came back out of turn is brought to where the expected one stands.
   * @param at of the expected one
   * @param out how many the device has, from there on
   * @returns false when it is not among those
   */
  protected bringBack(place: number, at: number, out: number): boolean {
    const where = this.#where[place]
    if (where === undefined || this.#ahead(where, at) >= out) return false
    this.#exchange(where, at)
    return true
  }

  /** The end of every `pop`, before the queue settles. @param oldest the place after those taken */
  protected took(count: number, oldest: number): void {
    this.oldest = oldest
    if (this.writable) this.#idle += count
    else this.#free += count
  }

  #write(): void {
    const count = this.#added - this.#written
    if (count === 0) return
    const first = this.#addAt - count
    this.writeRow(first < 0 ? first + this.count : first, count)
  }

  /** Has a reserved place be the next to be added. @returns false when nothing can be */
  #bring(place: number): boolean {
    if (this.closed) return false
    this.#exchange(this.#reservedAt(place), this.#addAt)
    return true
  }

  #reservedAt(place: number): number {
    if (!this.isReserved(place)) throw new RangeError(`place ${place} is not reserved`)
    return this.#where[place]!
  }

  #ahead(at: number, from: number): number {
    return at < from ? at - from + this.count : at - from
  }

  #exchange(a: number, b: number): void {
    if (a === b) return
    const { order } = this
    const place = order[a]!
    const other = order[b]!
    order[a] = other
    order[b] = place
    this.#moved += Number(other !== a) - Number(place !== a) + Number(place !== b) - Number(other !== b)
    this.#where[other] = a
    this.#where[place] = b
    this.unsettled = this.books.size
  }

  #lengthError(length: number): RangeError {
    return new RangeError(`a buffer of ${length} bytes, those of the lane have ${this.length}`)
  }
}
