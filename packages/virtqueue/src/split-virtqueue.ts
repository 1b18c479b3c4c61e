import type { DeviceAddress } from '@virtio-ts/memory'
import { SplitRing, type VirtioError } from '@virtio-ts/spec'
import { BookedVirtqueue } from './booked-virtqueue.ts'
import type { LaneRow, ReadableLane, WritableLane } from './buffer-lane.ts'
import type { ChainBuilder } from './chain-builder.ts'
import type { DeviceArea } from './device-area.ts'
import { fillIndirectTable } from './fill-indirect-table.ts'
import { needEvent } from './need-event.ts'
import { Counter, QueueBooks, Shadow } from './queue-books.ts'
import { ringError, ringOrigin } from './ring-error.ts'
import { SplitInOrder } from './split-in-order.ts'
import { SplitLane } from './split-lane.ts'
import { SplitRingMemory } from './split-ring-memory.ts'
import type { SplitVirtqueueOptions } from './split-virtqueue-options.ts'
import type { UsedBatch } from './virtqueue.ts'
import type { VirtqueueTransfer } from './virtqueue-transfer.ts'
import { writeDescriptor } from './write-descriptor.ts'

// Positions in the driver area, in 16-bit fields; used_event follows the ring.
const AVAIL_FLAGS = SplitRing.AVAIL_FLAGS >> 1
const AVAIL_IDX = SplitRing.AVAIL_IDX >> 1
const AVAIL_RING = SplitRing.AVAIL_RING >> 1

const { COOKIE, CAPACITY, COUNT, NEXT } = Shadow
const { USED, SENT, SUPPRESSED, CLAMPED } = Counter
const HIGH = 2 ** 32
/** Changes no head that is one; V8 knows by it that what is computed from a head cannot overflow. */
const MAX_ID = SplitRing.MAX_SIZE - 1

/**
 * The driver half of a split virtqueue.
 *
 * What the driver has to know of a chain stays in its private shadow. The descriptors and the available ring are only
 * written, never read back, as a device can scribble over them; the device area is read through `DeviceArea`, each field once.
 * @see VIRTIO 1.3 § 2.7 "Split Virtqueues"
 */
export class SplitVirtqueue extends BookedVirtqueue {
  readonly #options: SplitVirtqueueOptions
  // Numbers begin as numbers, arrays as arrays: a field that was undefined once is checked at every access.
  readonly #tableCapacity: number = 0
  readonly #eventIdx: boolean = false
  readonly #strict: boolean = false
  readonly #startIndex: number = 0
  readonly #mask: number = 0
  readonly #notify: (next: number) => void
  readonly #books: QueueBooks
  readonly #memory: SplitRingMemory
  readonly #descriptors: Uint32Array = new Uint32Array(0)
  readonly #driverArea: Uint16Array = new Uint16Array(0)
  readonly #deviceArea: DeviceArea
  readonly #inOrder: SplitInOrder | undefined
  #availableIndex = 0
  /** Index of the next entry of the available ring: ahead of that by what is not published. */
  #nextIndex = 0
  #usedIndex = 0

  /** @throws VirtioError `ring.size`; DmaError `memory.exhausted` */
  constructor(options: SplitVirtqueueOptions) {
    const { size, legacy, allocator, mapDeviceArea, adopted } = options
    const origin = ringOrigin(options)
    const isPowerOfTwo = size >= 1 && Number.isInteger(size) && (size & (size - 1)) === 0
    if (!isPowerOfTwo || size > SplitRing.MAX_SIZE) throw ringError('ring.size', origin, { size })
    // A table never holds more than the queue's size: that bounds every chain, indirect or not.
    const tableCapacity = options.indirect ? Math.min(options.indirectCapacity ?? 16, size) : 0
    const memory = new SplitRingMemory({
      allocator,
      size,
      legacy,
      tableCapacity,
      ...(mapDeviceArea && { mapDeviceArea }),
    })
    const books = new QueueBooks(origin, size, options.inOrder ?? false)
    super(books, memory)
    this.#options = options
    this.#tableCapacity = tableCapacity
    this.#eventIdx = options.eventIdx
    this.#strict = options.trust === 'strict'
    this.#startIndex = (options.startIndex ?? 0) & 0xffff
    this.#mask = size - 1
    this.#notify = options.notify
    this.#books = books
    this.#memory = memory
    this.#descriptors = memory.descriptors
    this.#driverArea = memory.driverArea
    this.#deviceArea = memory.deviceArea
    this.#inOrder = options.inOrder ? new SplitInOrder(books, memory.deviceArea, this.#strict) : undefined
    this.#availableIndex = this.#startIndex
    this.#nextIndex = this.#startIndex
    this.#usedIndex = this.#startIndex
    if (adopted) books.wantsNotifications = adopted.usedNotifications
    else memory.initialize(this.#startIndex)
  }

  addReadable(address: DeviceAddress, length: number, cookie: number): boolean {
    return this.#addOne(address, length, cookie, 0)
  }

  addWritable(address: DeviceAddress, length: number, cookie: number): boolean {
    return this.#addOne(address, length, cookie, SplitRing.DESC_F_WRITE)
  }

  addChain(chain: ChainBuilder, cookie: number): boolean {
    const count = chain.count
    // VIRTIO 1.3 § 2.7.5.3.1 "Driver Requirements: Indirect Descriptors": the limit holds for indirect chains too.
    if (count === 0 || count > this.size) throw new RangeError(`a chain of ${count} buffers in a ring of ${this.size}`)
    const indirect = count > 1 && count <= this.#tableCapacity
    const taken = indirect ? 1 : count
    const books = this.#books
    if (taken > books.freeCount) return false
    const head = this.#take()
    if (indirect) this.#placeInTable(head, chain)
    else this.#placeInRing(head, chain)
    // 2^32 writable bytes are legal, but the device cannot tell of more than 2^32 - 1.
    const capacity = chain.writableLength > 0xffffffff ? 0xffffffff : chain.writableLength
    this.#record(head, cookie, taken, capacity)
    return true
  }

  openReadableLane(row: LaneRow): ReadableLane {
    return this.#openLane(row, false)
  }

  openWritableLane(row: LaneRow): WritableLane {
    return this.#openLane(row, true)
  }

  publish(): void {
    const books = this.#books
    const count = books.unpublishedCount
    if (count === 0 || books.halted) return
    const old = this.#availableIndex
    const next = this.#nextIndex
    this.#availableIndex = next
    books.published(count)
    // VIRTIO 1.3 § 2.7.13.3.1 "Driver Requirements: Updating idx": the device reads idx first, and then finds
    // descriptors and ring entries complete.
    // VIRTIO 1.3 § 2.7.13.4.1 "Driver Requirements: Notifying The Device": the device writes its wish, then looks at idx once
    // more; we write idx, then read its wish. With a full barrier on both sides at least one sees the other's write.
    Atomics.store(this.#driverArea, AVAIL_IDX, next)
    // VIRTIO 1.3 § 2.7.10.1 "Driver Requirements: Available Buffer Notification Suppression"
    const wanted = this.#eventIdx
      ? needEvent(this.#deviceArea.availEvent(), next, old, 0xffff)
      : (this.#deviceArea.usedFlags() & SplitRing.USED_F_NO_NOTIFY) === 0
    if (wanted) this.notifyAlways()
    else books.counters[SUPPRESSED]!++
  }

  notifyAlways(): void {
    if (this.#books.halted) return
    this.#books.counters[SENT]!++
    // Last, as a device in this process may use the buffers, and its owner call back, before this returns.
    this.#notify(this.#availableIndex)
  }

  popUsed(batch: UsedBatch): number {
    const books = this.#books
    if (books.halted || books.lane !== undefined) return 0
    const deviceArea = this.#deviceArea
    const first = this.#usedIndex
    const used = (deviceArea.usedIndex() - first) & 0xffff
    if (used === 0) return 0
    if (used > books.outstandingCount) return this.#indexViolation(used)
    if (books.unpublishedCount !== 0) books.flipUnpublished()
    if (this.#inOrder !== undefined) {
      const taken = this.#inOrder.take(batch, used, first)
      return this.#settle(taken, this.#inOrder.violation)
    }
    const { cookies, written } = batch
    const shadow = books.shadow
    const size = this.size
    const mask = this.#mask
    const room = cookies.length | 0
    const limit = used < room ? used : room
    const ids = books.ids
    let freeCount = books.freeCount
    let last = first
    let count = 0
    let violation: VirtioError | undefined
    for (; count < limit; count++) {
      const slot = last & mask
      const id = deviceArea.usedId(slot)
      // The whole 32 bits: cut to 16, an id of 65536 would pass for descriptor 0.
      if (id >= size) {
        violation = ringError('ring.id-range', books.origin, { id, size })
        break
      }
      const head = (id & MAX_ID) << 2
      const descriptors = shadow[head + COUNT]!
      if (descriptors <= 0) {
        violation = ringError('ring.not-head', books.origin, { id })
        break
      }
      let length = deviceArea.usedLength(slot)
      const capacity = shadow[head + CAPACITY]! >>> 0
      if (length > capacity) {
        // Real devices report lengths for chains without a writable part (vhost-vsock, OpenAMP): harmless, so ignored.
        if (this.#strict && capacity !== 0) {
          violation = ringError('ring.length', books.origin, { id, written: length, capacity })
          break
        }
        length = capacity
        books.counters[CLAMPED]!++
      }
      cookies[count] = shadow[head + COOKIE]!
      written[count] = length
      shadow[head + COUNT] = 0
      // Last in, first out: descriptors still in the cache go first.
      ids[freeCount++] = id
      if (descriptors > 1) freeCount = this.#giveBack(head, descriptors, freeCount)
      last++
    }
    books.freeCount = freeCount
    return this.#settle(count, violation)
  }

  hasUsed(): boolean {
    return !this.#books.halted && this.#deviceArea.usedIndex() !== this.#usedIndex
  }

  disableUsedNotifications(): void {
    if (this.#books.halted) return
    this.#books.wantsNotifications = false
    // VIRTIO 1.3 § 2.7.7.1 "Driver Requirements: Used Buffer Notification Suppression": with EVENT_IDX, flags stays 0.
    // The entry asked for instead is the one just passed: it comes round again after 65535 others.
    if (this.#eventIdx) this.#driverArea[AVAIL_RING + this.size] = this.#usedIndex - 1
    else this.#driverArea[AVAIL_FLAGS] = SplitRing.AVAIL_F_NO_INTERRUPT
  }

  enableUsedNotifications(): boolean {
    if (this.#books.halted) return false
    this.#books.wantsNotifications = true
    // A full barrier again: the device writes idx, then reads this; we write this, then read idx.
    if (this.#eventIdx) Atomics.store(this.#driverArea, AVAIL_RING + this.size, this.#usedIndex)
    else Atomics.store(this.#driverArea, AVAIL_FLAGS, 0)
    return this.hasUsed()
  }

  transfer(): VirtqueueTransfer {
    const books = this.#books
    books.handOver()
    const { queue: index, ...origin } = books.origin
    return {
      format: 'split',
      index,
      size: this.size,
      addresses: this.addresses,
      tablesAddress: this.#memory.tablesAddress,
      tableCapacity: this.#tableCapacity,
      eventIdx: this.#eventIdx,
      inOrder: this.#inOrder !== undefined,
      legacy: this.#options.legacy,
      startIndex: this.#startIndex,
      usedNotifications: books.wantsNotifications,
      trust: this.#options.trust,
      ...origin,
    }
  }

  override reset(): Int32Array {
    const cookies = super.reset()
    this.#inOrder?.reset()
    this.#availableIndex = this.#startIndex
    this.#nextIndex = this.#startIndex
    this.#usedIndex = this.#startIndex
    this.#memory.initialize(this.#startIndex)
    return cookies
  }

  #openLane(row: LaneRow, writable: boolean): SplitLane {
    const queue = {
      books: this.#books,
      descriptors: this.#descriptors,
      driverArea: this.#driverArea,
      deviceArea: this.#deviceArea,
      startIndex: this.#startIndex,
      inOrder: this.#inOrder !== undefined,
      strict: this.#strict,
      usedIndex: () => this.#usedIndex,
      publish: (count: number) => {
        this.#nextIndex = (this.#nextIndex + count) & 0xffff
        this.#books.unpublishedCount = count
        this.publish()
      },
      settle: (count: number, violation: VirtioError | undefined) => this.#settle(count, violation),
    }
    return new SplitLane(queue, row, writable)
  }

  #addOne(address: number, length: number, cookie: number, flags: number): boolean {
    // An unsigned 32-bit integer, by comparing integers only.
    if (length >>> 0 !== length || length === 0) throw new RangeError(`a buffer of ${length} bytes`)
    const books = this.#books
    const freeCount = books.freeCount
    if (freeCount === 0) return false
    const head = (books.next < 0 ? books.ids[freeCount - 1]! : books.takeNext()) & MAX_ID
    books.freeCount = freeCount - 1
    const at = head << 2
    const descriptors = this.#descriptors
    // The element store keeps the lower 32 bits. Most transports hand out addresses that have no others.
    descriptors[at] = address
    descriptors[at + 1] = address >>> 0 === address ? 0 : Math.floor(address / HIGH)
    descriptors[at + 2] = length
    descriptors[at + 3] = flags
    this.#record(head, cookie, 1, flags === 0 ? 0 : length)
    return true
  }

  /** A descriptor, if there is one. */
  #take(): number {
    const books = this.#books
    const freeCount = books.freeCount--
    return books.next < 0 ? books.ids[freeCount - 1]! : books.takeNext()
  }

  /** Writes the chain into the available ring, too: the device looks at entries only up to idx. */
  #record(head: number, cookie: number, descriptors: number, capacity: number): void {
    const books = this.#books
    const shadow = books.shadow
    const at = head << 2
    shadow[at + COOKIE] = cookie
    shadow[at + CAPACITY] = capacity
    shadow[at + COUNT] = descriptors
    const count = books.unpublishedCount
    books.ids[this.size + count] = head
    books.unpublishedCount = count + 1
    const index = this.#nextIndex
    this.#driverArea[AVAIL_RING + (index & this.#mask)] = head
    this.#nextIndex = (index + 1) & 0xffff
  }

  /** @see VIRTIO 1.3 § 2.7.13.1 "Placing Buffers Into The Descriptor Table" */
  #placeInRing(head: number, chain: ChainBuilder): void {
    const { addresses, lengths, readable, count } = chain
    const shadow = this.#books.shadow
    let descriptor = head
    for (let i = 0; i < count; i++) {
      const flags = i < readable ? 0 : SplitRing.DESC_F_WRITE
      const next = i < count - 1 ? this.#take() : 0
      const link = i < count - 1 ? SplitRing.DESC_F_NEXT | (next << 16) : 0
      writeDescriptor(this.#descriptors, descriptor << 2, addresses[i]!, lengths[i]!, flags | link)
      shadow[(descriptor << 2) + NEXT] = next
      descriptor = next
    }
  }

  /** @see VIRTIO 1.3 § 2.7.5.3 "Indirect Descriptors" */
  #placeInTable(head: number, chain: ChainBuilder): void {
    const offset = head * this.#tableCapacity * SplitRing.DESCRIPTOR_SIZE
    fillIndirectTable(this.#memory.tables, offset >> 2, chain)
    const table = this.#memory.tablesAddress + offset
    const length = chain.count * SplitRing.DESCRIPTOR_SIZE
    writeDescriptor(this.#descriptors, head << 2, table, length, SplitRing.DESC_F_INDIRECT)
  }

  /** The end of every `popUsed`. */
  #settle(count: number, violation: VirtioError | undefined): number {
    const books = this.#books
    const last = (this.#usedIndex + count) & 0xffff
    this.#usedIndex = last
    books.outstandingCount -= count
    books.counters[USED]! += count
    if (books.unpublishedCount !== 0) books.flipUnpublished()
    // A full barrier: what the device uses from here on is notified, what it used before is there at the next call.
    if (this.#eventIdx && books.wantsNotifications) Atomics.store(this.#driverArea, AVAIL_RING + this.size, last)
    if (violation !== undefined) books.fail(violation)
    return count
  }

  /** Puts all but the first descriptor of a chain onto the stack. @returns how many are on it then */
  #giveBack(head: number, descriptors: number, freeCount: number): number {
    const { shadow, ids } = this.#books
    let top = freeCount
    for (let i = 1, at = head; i < descriptors; i++) {
      const descriptor = shadow[at + NEXT]!
      ids[top++] = descriptor
      at = descriptor << 2
    }
    return top
  }

  #indexViolation(jump: number): 0 {
    const { origin, outstandingCount } = this.#books
    this.#books.fail(ringError('ring.idx-jump', origin, { jump, outstanding: outstandingCount }))
    return 0
  }
}
