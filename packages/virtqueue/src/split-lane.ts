import { SplitRing, type VirtioError } from '@virtio-ts/spec'
import type { LaneRow } from './buffer-lane.ts'
import type { DeviceArea } from './device-area.ts'
import { Counter } from './queue-books.ts'
import { ringError } from './ring-error.ts'
import { type LaneQueue, RingLane } from './ring-lane.ts'
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

  pop({ cookies, written }: UsedBatch): number {
    if (this.closed) return 0
    const { books, order, count: places, capacity } = this
    const deviceArea = this.#deviceArea
    const first = this.#queue.usedIndex()
    const used = (deviceArea.usedIndex() - first) & 0xffff
    if (used === 0) return 0
    const outstanding = books.outstandingCount
    if (used > outstanding) return this.#jumped(used)
    const inOrder = this.#inOrder === true
    const mask = this.#mask
    const room = cookies.length | 0
    const limit = used < room ? used : room
    let at = this.oldest
    let descriptor = this.#oldestDescriptor
    let left = this.#left
    let count = 0
    let violation: VirtioError | undefined
    for (; count < limit; count++) {
      let length = 0
      if (left === 0) {
        const slot = (first + count) & mask
        // The whole 32 bits: cut to 16, an id of 65536 would pass for place 0.
        const id = deviceArea.usedId(slot)
        if (id !== (inOrder ? descriptor : order[at]!)) {
          violation = inOrder
            ? this.#skip(id, descriptor, used - count, outstanding - count)
            : this.#outOfTurn(id, at, outstanding - count)
          if (violation !== undefined) break
          left = this.#left
        }
        length = deviceArea.usedLength(slot)
        if (length > capacity) {
          violation = this.#tooLong(id, length)
          if (violation !== undefined) break
          length = capacity
        }
        // Those before the one that a batch's element names count as used completely.
        if (left > 0) {
          this.#lastWritten = length
          left--
          length = capacity
        }
      } else {
        left--
        length = left === 0 ? this.#lastWritten : capacity
      }
      cookies[count] = order[at]!
      written[count] = length
      if (++at === places) at = 0
      descriptor = (descriptor + 1) & mask
    }
    this.#oldestDescriptor = descriptor
    this.#left = left
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
    const oldest = this.#oldestDescriptor
    let at = this.oldest
    // Of a batch that `pop` has taken in part the rest is known to be used.
    let count = this.#left
    let violation: VirtioError | undefined
    if (inOrder) {
      for (; count < used; count++) {
        const id = deviceArea.usedId((first + count) & mask)
        const descriptor = (oldest + count) & mask
        if (id === descriptor) continue
        violation = this.#skip(id, descriptor, used - count, outstanding - count)
        if (violation !== undefined) break
        count += this.#left - 1
      }
      at = (at + count) % places
    } else {
      for (; count < used; count++) {
        const id = deviceArea.usedId((first + count) & mask)
        if (id !== order[at]!) {
          violation = this.#outOfTurn(id, at, outstanding - count)
          if (violation !== undefined) break
        }
        if (++at === places) at = 0
      }
    }
    this.#left = 0
    this.#oldestDescriptor = (oldest + count) & mask
    this.took(count, at)
    return this.#queue.settle(count, violation)
  }

  protected write(_at: number, place: number, length: number): void {
    const next = this.#next
    const descriptor = this.#inOrder === true ? next : place
    if (this.unsettled > 0) this.#writeAll(descriptor, place, length)
    else {
      this.#descriptors[(descriptor << 2) + 2] = length
      this.#next = (next + 1) & this.#mask
    }
  }

  protected complete(): void {}

  protected writeElsewhere(place: number, low: number, high: number, length: number): void {
    this.#place(this.#inOrder === true ? this.#next : place, low, high, length)
  }

  protected writeRow(from: number, count: number): number {
    const { order, length, count: places } = this
    let at = from
    let left = count
    for (; left > 0 && this.unsettled > 0; left--) {
      const place = order[at]!
      this.#writeAll(this.#inOrder === true ? this.#next : place, place, length)
      if (++at === places) at = 0
    }
    // The rest is what it was: the same buffers in the same descriptors, in the same entries.
    this.#next = (this.#next + left) & this.#mask
    return (at + left) % places
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
