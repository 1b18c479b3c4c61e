import { SplitRing, type VirtioError } from '@virtio-ts/spec'
import type { LaneRow } from './buffer-lane.ts'
import type { DeviceArea } from './device-area.ts'
import { Counter } from './queue-books.ts'
import { ringError } from './ring-error.ts'
import { type LaneQueue, RingLane } from './ring-lane.ts'
import { skipExpected, takeExpected } from './split-runs.ts'
import type { UsedBatch } from './virtqueue.ts'

const AVAIL_RING = SplitRing.AVAIL_RING >> 1

export interface SplitLaneQueue extends LaneQueue {
  readonly descriptors: Uint32Array
  readonly driverArea: Uint16Array
  readonly deviceArea: DeviceArea
  /** First index of both rings. */
  readonly startIndex: number
  readonly usedIndex: () => number
  /** The end of taking used buffers. @returns `count` */
  readonly settle: (count: number, violation: VirtioError | undefined) => number
}

/**
 * A lane in a split ring. A place has the descriptor of its own number; with IN_ORDER descriptors go round instead, whatever place it is.
 * Either way, once settled, descriptors and available ring are what the next lap needs, but for the lengths of buffers to be read. They are
 * not read back even so: a device that scribbles over them gets what it wrote itself, and nothing of what the driver goes by changes.
 * @see VIRTIO 1.3 § 2.7 "Split Virtqueues"
 */
export class SplitLane extends RingLane {
  readonly #queue: SplitLaneQueue
  readonly #descriptors: Uint32Array = new Uint32Array(0)
  readonly #driverArea: Uint16Array = new Uint16Array(0)
  readonly #deviceArea: DeviceArea
  readonly #inOrder: boolean = false
  readonly #mask: number = 0
  readonly #startIndex: number = 0
  readonly #flags: number = 0
  /** The next chain's number, cut to the ring. */
  #next = 0
  /** IN_ORDER: descriptor of the oldest chain that is out. */
  #oldestDescriptor = 0
  /** IN_ORDER: chains not yet given back of a batch whose element was read, and the bytes written into the last of them. */
  #left = 0
  #lastWritten = 0
  /** The last id that was read. */
  readonly #last: Uint32Array = new Uint32Array(1)

  constructor(queue: SplitLaneQueue, row: LaneRow, writable: boolean) {
    super(queue, row, writable)
    this.#queue = queue
    this.#descriptors = queue.descriptors
    this.#driverArea = queue.driverArea
    this.#deviceArea = queue.deviceArea
    this.#inOrder = queue.inOrder
    this.#mask = queue.books.size - 1
    this.#startIndex = queue.startIndex
    this.#flags = writable ? SplitRing.DESC_F_WRITE : 0
  }

  pop(batch: UsedBatch): number {
    if (this.closed) return 0
    const { books, order, count: places, capacity } = this
    const { cookies, written } = batch
    const deviceArea = this.#deviceArea
    const first = this.#queue.usedIndex()
    const used = (deviceArea.usedIndex() - first) & 0xffff
    if (used === 0) return 0
    const outstanding = books.outstandingCount
    if (used > outstanding) return this.#jumped(used)
    const inOrder = this.#inOrder === true
    const mask = this.#mask
    const limit = Math.min(used, cookies.length)
    let at = this.oldest
    let descriptor = this.#oldestDescriptor
    let count = 0
    let violation: VirtioError | undefined
    while (count < limit) {
      if (this.#left > 0) {
        this.#left--
        cookies[count] = order[at]!
        // Those before the one that a batch's element names count as used completely.
        written[count] = this.#left === 0 ? this.#lastWritten : capacity
        count++
        if (++at === places) at = 0
        descriptor = (descriptor + 1) & mask
        continue
      }
      const slot = (first + count) & mask
      const run = this.#run(limit - count, slot, descriptor, at)
      const last = this.#last
      const taken = takeExpected(deviceArea, slot, run, order, at, inOrder, descriptor, capacity, batch, count, last)
      count += taken
      at += taken
      if (at === places) at = 0
      descriptor = (descriptor + taken) & mask
      if (taken === run) continue
      // The whole 32 bits: cut to 16, an id of 65536 would pass for place 0.
      const id = last[0]!
      const length = written[count]!
      if (id !== (inOrder ? descriptor : order[at]!)) {
        violation = inOrder
          ? this.#skip(id, descriptor, used - count, outstanding - count)
          : this.#outOfTurn(id, at, outstanding - count)
        if (violation !== undefined) break
      }
      if (length > capacity) {
        violation = this.#tooLong(id, length)
        if (violation !== undefined) break
      }
      this.#lastWritten = length > capacity ? capacity : length
      // Out of turn, or too long and forgiven: a batch of one, whose place stands where it is expected by now.
      if (this.#left === 0) this.#left = 1
    }
    this.#oldestDescriptor = descriptor
    this.took(count, at)
    return this.#queue.settle(count, violation)
  }

  reclaim(): number {
    if (this.closed) return 0
    const { books, order, count: places } = this
    const deviceArea = this.#deviceArea
    const first = this.#queue.usedIndex()
    const used = (deviceArea.usedIndex() - first) & 0xffff
    if (used === 0) return 0
    const outstanding = books.outstandingCount
    if (used > outstanding) return this.#jumped(used)
    const inOrder = this.#inOrder === true
    const mask = this.#mask
    // Of a batch that `pop` has taken in part the rest is known to be used.
    let count = this.#left
    this.#left = 0
    let at = (this.oldest + count) % places
    let descriptor = (this.#oldestDescriptor + count) & mask
    let violation: VirtioError | undefined
    while (count < used) {
      const slot = (first + count) & mask
      const run = this.#run(used - count, slot, descriptor, at)
      let taken = skipExpected(deviceArea, slot, run, order, at, inOrder, descriptor, this.#last)
      if (taken < run) {
        const id = this.#last[0]!
        violation = inOrder
          ? this.#skip(id, (descriptor + taken) & mask, used - count - taken, outstanding - count - taken)
          : this.#outOfTurn(id, at + taken, outstanding - count - taken)
        if (violation === undefined) taken += inOrder ? this.#left : 1
      }
      count += taken
      at = (at + taken) % places
      descriptor = (descriptor + taken) & mask
      if (violation !== undefined) break
    }
    this.#left = 0
    this.#oldestDescriptor = descriptor
    this.took(count, at)
    return this.#queue.settle(count, violation)
  }

  protected writeElsewhere(place: number, low: number, high: number, length: number): void {
    this.#place(this.#inOrder === true ? this.#next : place, low, high, length)
  }

  protected writeRow(from: number, count: number): number {
    const { order, lengths, count: places } = this
    let at = from
    let left = count
    for (; left > 0 && this.unsettled > 0; left--) {
      const place = order[at]!
      this.#writeAll(this.#inOrder === true ? this.#next : place, place, lengths[at]!)
      if (++at === places) at = 0
    }
    // The rest is what it was, the same buffers in the same descriptors, in the same entries, but for the lengths of those to be read.
    if (!this.writable && left > 0) this.#writeLengths(at, left)
    this.#next = (this.#next + left) & this.#mask
    return (at + left) % places
  }

  #writeLengths(from: number, count: number): void {
    const { order, lengths, count: places } = this
    const descriptors = this.#descriptors
    const mask = this.#mask
    const inOrder = this.#inOrder === true
    let at = from
    let next = this.#next
    let left = count
    while (left > 0) {
      let run = Math.min(left, places - at)
      left -= run
      for (; run > 3; run -= 4, at += 4) {
        descriptors[((inOrder ? next : order[at]!) << 2) | 2] = lengths[at]!
        next = (next + 1) & mask
        descriptors[((inOrder ? next : order[at + 1]!) << 2) | 2] = lengths[at + 1]!
        next = (next + 1) & mask
        descriptors[((inOrder ? next : order[at + 2]!) << 2) | 2] = lengths[at + 2]!
        next = (next + 1) & mask
        descriptors[((inOrder ? next : order[at + 3]!) << 2) | 2] = lengths[at + 3]!
        next = (next + 1) & mask
      }
      for (; run > 0; run--, at++) {
        descriptors[((inOrder ? next : order[at]!) << 2) | 2] = lengths[at]!
        next = (next + 1) & mask
      }
      if (at === places) at = 0
    }
  }

  #writeAll(descriptor: number, place: number, length: number): void {
    const low = this.low(place)
    this.unsettled -= this.settles
    this.#place(descriptor, low, this.high(low), length)
  }

  #place(descriptor: number, low: number, high: number, length: number): void {
    const at = descriptor << 2
    const descriptors = this.#descriptors
    descriptors[at] = low
    descriptors[at + 1] = high
    descriptors[at + 2] = length
    descriptors[at + 3] = this.#flags
    const next = this.#next
    this.#driverArea[AVAIL_RING + ((this.#startIndex + next) & this.#mask)] = descriptor
    this.#next = (next + 1) & this.#mask
  }

  /** How many elements come, of at most so many, before the ring, the descriptors or the circle end. */
  #run(most: number, slot: number, descriptor: number, at: number): number {
    const { size } = this.books
    return Math.min(most, size - slot, size - descriptor, this.count - at)
  }

  #jumped(jump: number): number {
    const { origin, outstandingCount: outstanding } = this.books
    return this.#queue.settle(0, ringError('ring.idx-jump', origin, { jump, outstanding }))
  }

  /** A used element without IN_ORDER that is not the expected one. */
  #outOfTurn(id: number, at: number, out: number): VirtioError | undefined {
    const { origin, size } = this.books
    if (id >= size) return ringError('ring.id-range', origin, { id, size })
    return this.bringBack(id, at, out) ? undefined : ringError('ring.not-head', origin, { id })
  }

  /** With IN_ORDER one that stands for a batch: how many chains that is, is in `#left` then. */
  #skip(id: number, descriptor: number, used: number, out: number): VirtioError | undefined {
    const { origin, size } = this.books
    if (id >= size) return ringError('ring.id-range', origin, { id, size })
    const chains = ((id - descriptor) & this.#mask) + 1
    if (chains > out) return ringError('ring.not-head', origin, { id })
    if (chains > used) return ringError('ring.order', origin, { id, used })
    this.#left = chains
    return undefined
  }

  #tooLong(id: number, written: number): VirtioError | undefined {
    const { capacity, books } = this
    // Real devices report lengths for chains without a writable part (vhost-vsock, OpenAMP): harmless, so ignored.
    if (this.#queue.strict && capacity !== 0) return ringError('ring.length', books.origin, { id, written, capacity })
    books.counters[Counter.CLAMPED]!++
    return undefined
  }
}
