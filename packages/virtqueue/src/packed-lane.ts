import { PackedRing, type VirtioError } from '@virtio-ts/spec'
import type { LaneRow } from './buffer-lane.ts'
import type { PackedAvailableDescriptors } from './packed-available-descriptors.ts'
import type { PackedDeviceArea } from './packed-device-area.ts'
import { Counter } from './queue-books.ts'
import { ringError } from './ring-error.ts'
import { type LaneQueue, RingLane } from './ring-lane.ts'
import type { UsedBatch } from './virtqueue.ts'

const USED_MASK = (PackedRing.DESC_F_AVAIL | PackedRing.DESC_F_USED) << 16
const WRITE = PackedRing.DESC_F_WRITE << 16
const USED_AND_ID = USED_MASK | 0xffff

export interface PackedLaneQueue extends LaneQueue {
  readonly available: PackedAvailableDescriptors
  readonly driverEvents: Uint32Array
  readonly deviceArea: PackedDeviceArea
  /** Where the next used descriptor comes: on a circle of twice the ring's size, as in `PackedVirtqueue`. */
  readonly used: () => number
  /** The end of taking used buffers: the next one comes at `position`. @returns `count` */
  readonly settle: (count: number, position: number, violation: VirtioError | undefined) => number
}

/**
 * A lane in a packed ring: each chain takes one descriptor. A place's number is its buffer id; with IN_ORDER ids go round like descriptors
 * instead, whatever place it is.
 * @see VIRTIO 1.3 § 2.8 "Packed Virtqueues"
 */
export class PackedLane extends RingLane {
  readonly #queue: PackedLaneQueue
  readonly #available: PackedAvailableDescriptors
  readonly #driverEvents: Uint32Array = new Uint32Array(0)
  readonly #deviceArea: PackedDeviceArea
  readonly #inOrder: boolean = false
  readonly #size: number = 0
  readonly #flags: number = 0
  /** By position on the circle. */
  readonly #lengths: Int32Array = new Int32Array(0)
  /** Chains that were added and are not in the ring yet, and the position of the first of them. */
  #pending = 0
  #pendingAt = 0
  /** IN_ORDER: chains not yet given back of a batch whose descriptor was read, and the bytes written into the last of them. */
  #left = 0
  #lastWritten = 0

  constructor(queue: PackedLaneQueue, row: LaneRow, writable: boolean) {
    super(queue, row, writable)
    this.#queue = queue
    this.#available = queue.available
    this.#driverEvents = queue.driverEvents
    this.#deviceArea = queue.deviceArea
    this.#inOrder = queue.inOrder
    this.#size = queue.books.size
    this.#flags = writable ? WRITE : 0
    this.#lengths = new Int32Array(row.count).fill(row.length)
  }

  /** Chains that are known to be used. */
  get left(): number {
    return this.#left
  }

  pop({ cookies, written }: UsedBatch): number {
    if (this.closed) return 0
    const { order, count: places, capacity } = this
    const deviceArea = this.#deviceArea
    const size = this.#size
    const inOrder = this.#inOrder === true
    const outstanding = this.books.outstandingCount
    const room = cookies.length | 0
    // Behind a whole lap comes what was read first.
    const limit = room < size ? room : size
    const first = this.#queue.used()
    let slot = first < size ? first : first - size
    let used = first < size ? USED_MASK : 0
    let at = this.oldest
    let count = 0
    let violation: VirtioError | undefined
    while (count < limit && violation === undefined) {
      if (this.#left > 0) {
        this.#left--
        cookies[count] = order[at]!
        written[count] = this.#left === 0 ? this.#lastWritten : capacity
        count++
        if (++at === places) at = 0
        if (++slot === size) {
          slot = 0
          used ^= USED_MASK
        }
        continue
      }
      // First what is used, then, behind one barrier for all of it, what was written. Short loops, and few arrays in each.
      let end = count
      let next = slot
      let mask = used
      for (; end < limit; end++) {
        const word = deviceArea.usedWord(next)
        // Beyond what is out any descriptor that says it is used is a lie.
        if ((word & USED_AND_ID) !== (mask | (inOrder ? next : order[at]!)) || end >= outstanding) {
          if ((word & USED_MASK) !== mask) break
          violation = this.#unexpected(word & 0xffff, next, at, end)
          if (violation !== undefined) break
        }
        cookies[end] = order[at]!
        written[end] = word
        // Behind a batch nobody knows yet where the next one is.
        if (this.#left > 0) break
        if (++at === places) at = 0
        if (++next === size) {
          next = 0
          mask ^= USED_MASK
        }
      }
      // A full barrier; the value is of no interest.
      Atomics.load(this.#driverEvents, 0)
      for (; count < end; count++) {
        let length = deviceArea.usedLength(slot)
        if (length > capacity) {
          const wrong = this.#tooLong(written[count]!, length)
          if (wrong !== undefined) {
            violation = wrong
            break
          }
          length = (written[count]! & WRITE) !== 0 ? capacity : 0
        }
        written[count] = length
        if (++slot === size) {
          slot = 0
          used ^= USED_MASK
        }
      }
      // What comes behind a length that breaks the queue is not taken.
      if (count < end) at = (this.oldest + count) % places
      if (this.#left === 0 || violation !== undefined) break
      const length = deviceArea.usedLength(slot)
      this.#lastWritten = length
      if (length > capacity) {
        violation = this.#tooLong(written[count]!, length)
        this.#lastWritten = (written[count]! & WRITE) !== 0 ? capacity : 0
      }
    }
    if (count === 0 && violation === undefined) return 0
    this.took(count, at)
    return this.#queue.settle(count, used === 0 ? slot + size : slot, violation)
  }

  reclaim(): number {
    if (this.closed) return 0
    const { order, count: places } = this
    const deviceArea = this.#deviceArea
    const size = this.#size
    const inOrder = this.#inOrder === true
    const outstanding = this.books.outstandingCount
    // Of a batch that `pop` has taken in part the rest is known to be used.
    let count = this.#left
    let position = this.#queue.used() + count
    if (position >= 2 * size) position -= 2 * size
    let slot = position < size ? position : position - size
    let wanted = position < size ? USED_MASK : 0
    let at = (this.oldest + count) % places
    let violation: VirtioError | undefined
    while (count < size) {
      const word = deviceArea.usedWord(slot)
      if ((word & USED_MASK) !== wanted) break
      let chains = 1
      const id = word & 0xffff
      // Beyond what is out any descriptor that says it is used is a lie.
      if (id !== (inOrder ? slot : order[at]!) || count >= outstanding) {
        violation = this.#unexpected(id, slot, at, count)
        if (violation !== undefined) break
        if (inOrder) chains = this.#left
      }
      count += chains
      at += chains
      if (at >= places) at %= places
      slot += chains
      if (slot >= size) {
        slot -= size
        wanted ^= USED_MASK
      }
    }
    this.#left = 0
    // A full barrier: the device is done with those buffers before they are filled anew.
    Atomics.load(this.#driverEvents, 0)
    if (count === 0 && violation === undefined) return 0
    this.took(count, at)
    return this.#queue.settle(count, wanted === 0 ? slot + size : slot, violation)
  }

  protected write(at: number, _place: number, length: number): void {
    // In a short loop later: there V8 looks at each array once.
    this.#lengths[at] = length
    if (this.#pending++ === 0) this.#pendingAt = at
  }

  protected complete(): void {
    const pending = this.#pending
    if (pending === 0) return
    this.#pending = 0
    this.writeRow(this.#pendingAt, pending)
  }

  protected writeElsewhere(place: number, low: number, high: number, length: number): void {
    this.complete()
    const id = this.#inOrder === true ? this.#available.slot : place
    this.#available.placeWords(low, high, length, id | this.#flags)
  }

  protected writeRow(from: number, count: number): number {
    const available = this.#available
    const { order, count: places } = this
    const lengths = this.#lengths
    const whole = this.capacity
    const inOrder = this.#inOrder === true
    const flags = this.#flags
    const words = available.descriptors
    let at = from
    let left = count
    while (left > 0) {
      // The first one since `publish` is held back, and the ring's end is an end.
      const run = available.run(left)
      if (run === 0) {
        const low = this.low(order[at]!)
        available.placeWords(low, this.high(low), lengths[at]!, (inOrder ? available.slot : order[at]!) | flags)
        if (++at === places) at = 0
        left--
        continue
      }
      const first = available.slot
      const lap = available.flags | flags
      for (let slot = first; slot < first + run; slot++) {
        const place = order[at]!
        const low = this.low(place)
        const word = slot << 2
        words[word] = low
        words[word + 1] = this.high(low)
        words[word + 2] = whole > 0 ? whole : lengths[at]!
        words[word + 3] = (inOrder ? slot : place) | lap
        if (++at === places) at = 0
      }
      available.advance(run)
      left -= run
    }
    return at
  }

  /** A used descriptor that does not name the chain whose turn it is. With IN_ORDER, how many it stands for is in `#left` then. */
  #unexpected(id: number, slot: number, at: number, count: number): VirtioError | undefined {
    const { origin, size, outstandingCount } = this.books
    if (id >= size) return ringError('ring.id-range', origin, { id, size })
    const out = outstandingCount - count
    if (!this.#inOrder) return this.bringBack(id, at, out) ? undefined : ringError('ring.not-head', origin, { id })
    const chains = (id < slot ? id - slot + size : id - slot) + 1
    if (chains > out) return ringError('ring.not-head', origin, { id })
    this.#left = chains
    return undefined
  }

  #tooLong(word: number, written: number): VirtioError | undefined {
    const { capacity, books } = this
    // VIRTIO 1.3 § 2.8.4 "Element Address and Length": without WRITE it is no length, as in `PackedVirtqueue.popUsed`.
    if (this.#queue.strict && (word & WRITE) !== 0 && capacity !== 0)
      return ringError('ring.length', books.origin, { id: word & 0xffff, written, capacity })
    books.counters[Counter.CLAMPED]!++
    return undefined
  }
}
