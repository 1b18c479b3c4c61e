import { PackedRing, type VirtioError } from '@virtio-ts/spec'
import type { LaneRow } from './buffer-lane.ts'
import type { PackedAvailableDescriptors } from './packed-available-descriptors.ts'
import type { PackedDeviceArea } from './packed-device-area.ts'
import { countExpected, takeLengths } from './packed-runs.ts'
import { Counter } from './queue-books.ts'
import { ringError } from './ring-error.ts'
import { type LaneQueue, RingLane } from './ring-lane.ts'
import { type UsedBatch, usedBatch } from './virtqueue.ts'

const USED_MASK = (PackedRing.DESC_F_AVAIL | PackedRing.DESC_F_USED) << 16
const WRITE = PackedRing.DESC_F_WRITE << 16

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
  /** What `reclaim` read, and the last length `pop` did. */
  readonly #scratch: UsedBatch
  readonly #length: Uint32Array = new Uint32Array(1)
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
    this.#scratch = usedBatch(queue.books.size)
  }

  /** Chains that are known to be used. */
  get left(): number {
    return this.#left
  }

  pop(batch: UsedBatch): number {
    if (this.closed) return 0
    const { cookies, written } = batch
    const { order, count: places, capacity } = this
    const deviceArea = this.#deviceArea
    const size = this.#size
    const inOrder = this.#inOrder === true
    const outstanding = this.books.outstandingCount
    // Behind a whole lap comes what was read first.
    const limit = Math.min(cookies.length, size)
    const first = this.#queue.used()
    let slot = first < size ? first : first - size
    let used = first < size ? USED_MASK : 0
    let at = this.oldest
    let count = 0
    let violation: VirtioError | undefined
    while (count < limit) {
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
      // First what is used, then, behind one barrier for all of it, what was written.
      const run = this.#run(limit - count, slot, at, outstanding - count)
      let end = countExpected(deviceArea, slot, run, used, order, at, inOrder, batch, count)
      const whole = run > 0 && end === run
      let word = 0
      // Beyond what is out any descriptor that says it is used is a lie.
      if (!whole) word = run === 0 ? deviceArea.usedWord(slot) : written[count + end]!
      const more = whole || (word & USED_MASK) === used
      if (more && !whole) {
        violation = this.#unexpected(word & 0xffff, slot + end, at + end, count + end)
        // Behind a batch nobody knows yet where the next one is.
        if (violation === undefined && this.#left === 0) {
          cookies[count + end] = order[at + end]!
          end++
        }
      }
      // A full barrier; the value is of no interest.
      Atomics.load(this.#driverEvents, 0)
      let taken = 0
      while (taken < end) {
        taken += takeLengths(deviceArea, slot + taken, end - taken, capacity, written, count + taken, this.#length)
        if (taken === end) break
        const claim = written[count + taken]!
        const wrong = this.#tooLong(claim, this.#length[0]!)
        if (wrong !== undefined) {
          violation = wrong
          break
        }
        written[count + taken] = (claim & WRITE) !== 0 ? capacity : 0
        taken++
      }
      // What comes behind a length that breaks the queue is not taken.
      count += taken
      at += taken
      if (at === places) at = 0
      slot += taken
      if (slot === size) {
        slot = 0
        used ^= USED_MASK
      }
      if (violation !== undefined || !more) break
      if (this.#left === 0) continue
      const length = deviceArea.usedLength(slot)
      this.#lastWritten = length
      if (length > capacity) {
        violation = this.#tooLong(word, length)
        if (violation !== undefined) break
        this.#lastWritten = (word & WRITE) !== 0 ? capacity : 0
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
    let used = position < size ? USED_MASK : 0
    let at = (this.oldest + count) % places
    let violation: VirtioError | undefined
    while (count < size) {
      const run = this.#run(size - count, slot, at, outstanding - count)
      let end = countExpected(deviceArea, slot, run, used, order, at, inOrder, this.#scratch, 0)
      const whole = run > 0 && end === run
      let word = 0
      if (!whole) word = run === 0 ? deviceArea.usedWord(slot) : this.#scratch.written[end]!
      const more = whole || (word & USED_MASK) === used
      if (more && !whole) {
        violation = this.#unexpected(word & 0xffff, slot + end, at + end, count + end)
        if (violation === undefined) end += inOrder ? this.#left : 1
      }
      count += end
      at += end
      if (at >= places) at -= places
      slot += end
      if (slot >= size) {
        slot -= size
        used ^= USED_MASK
      }
      if (violation !== undefined || !more) break
    }
    this.#left = 0
    // A full barrier: the device is done with those buffers before they are filled anew.
    Atomics.load(this.#driverEvents, 0)
    if (count === 0 && violation === undefined) return 0
    this.took(count, at)
    return this.#queue.settle(count, used === 0 ? slot + size : slot, violation)
  }

  protected writeElsewhere(place: number, low: number, high: number, length: number): void {
    const id = this.#inOrder === true ? this.#available.slot : place
    this.#available.placeWords(low, high, length, id | this.#flags)
  }

  protected writeRow(from: number, count: number): number {
    const available = this.#available
    const { order, lengths, count: places } = this
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
      let slot = available.slot
      const lap = available.flags | flags
      const end = slot + run
      let place = 0
      let low = 0
      let word = 0
      for (; slot + 4 <= end && at + 4 <= places; slot += 4, at += 4) {
        place = order[at]!
        low = this.low(place)
        word = slot << 2
        words[word] = low
        words[word | 1] = this.high(low)
        words[word | 2] = lengths[at]!
        words[word | 3] = (inOrder ? slot : place) | lap
        place = order[at + 1]!
        low = this.low(place)
        word = (slot + 1) << 2
        words[word] = low
        words[word | 1] = this.high(low)
        words[word | 2] = lengths[at + 1]!
        words[word | 3] = (inOrder ? slot + 1 : place) | lap
        place = order[at + 2]!
        low = this.low(place)
        word = (slot + 2) << 2
        words[word] = low
        words[word | 1] = this.high(low)
        words[word | 2] = lengths[at + 2]!
        words[word | 3] = (inOrder ? slot + 2 : place) | lap
        place = order[at + 3]!
        low = this.low(place)
        word = (slot + 3) << 2
        words[word] = low
        words[word | 1] = this.high(low)
        words[word | 2] = lengths[at + 3]!
        words[word | 3] = (inOrder ? slot + 3 : place) | lap
      }
      if (at === places) at = 0
      for (; slot < end; slot++) {
        place = order[at]!
        low = this.low(place)
        word = slot << 2
        words[word] = low
        words[word | 1] = this.high(low)
        words[word | 2] = lengths[at]!
        words[word | 3] = (inOrder ? slot : place) | lap
        if (++at === places) at = 0
      }
      available.advance(run)
      left -= run
    }
    return at
  }

  /** How many descriptors come, of at most so many, and of those that are out, before the ring or the circle ends. */
  #run(most: number, slot: number, at: number, out: number): number {
    return Math.min(most, this.#size - slot, this.count - at, out)
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
