import type { DeviceAddress } from '@virtio-ts/memory'
import { PackedRing, type VirtioError } from '@virtio-ts/spec'
import { BookedVirtqueue } from './booked-virtqueue.ts'
import type { LaneRow, ReadableLane, WritableLane } from './buffer-lane.ts'
import type { ChainBuilder } from './chain-builder.ts'
import { descriptorEvent } from './descriptor-event.ts'
import { fillPackedTable } from './fill-packed-table.ts'
import { PackedAvailableDescriptors } from './packed-available-descriptors.ts'
import type { PackedDeviceArea } from './packed-device-area.ts'
import { PackedInOrder } from './packed-in-order.ts'
import { PackedLane } from './packed-lane.ts'
import { PackedRingMemory } from './packed-ring-memory.ts'
import type { PackedVirtqueueOptions } from './packed-virtqueue-options.ts'
import { Counter, QueueBooks, Shadow } from './queue-books.ts'
import { ringError, ringOrigin } from './ring-error.ts'
import type { UsedBatch } from './virtqueue.ts'
import type { VirtqueueTransfer } from './virtqueue-transfer.ts'

const { DESC_F_WRITE, DESC_F_INDIRECT, DESC_F_AVAIL, DESC_F_USED } = PackedRing
const { EVENT_WRAP, EVENT_FLAGS_ENABLE, EVENT_FLAGS_DISABLE, EVENT_FLAGS_DESC } = PackedRing

// Flags as they stand in a descriptor's fourth word, above the id.
const USED_MASK = (DESC_F_AVAIL | DESC_F_USED) << 16
const ID_AND_WRITE = (DESC_F_WRITE << 16) | 0xffff
const WRITE = DESC_F_WRITE << 16

/** Changes no id that is one; V8 knows by it that what is computed from an id cannot overflow. */
const MAX_ID = PackedRing.MAX_SIZE - 1

const { COOKIE, CAPACITY, COUNT } = Shadow
const { USED, SENT, SUPPRESSED, CLAMPED } = Counter

/**
 * The driver half of a packed virtqueue.
 *
 * A place in the ring is a position on a circle of twice its size: below the size the wrap counter is 1, from there on 0. What
 * the driver has to know of a chain stays in its private shadow, by buffer id: how far to go on after a used descriptor is never
 * taken from the ring, which both sides write. Each field there is read once, through `PackedDeviceArea`.
 * @see VIRTIO 1.3 § 2.8 "Packed Virtqueues"
 */
export class PackedVirtqueue extends BookedVirtqueue {
  readonly #options: PackedVirtqueueOptions
  // Numbers begin as numbers, arrays as arrays: a field that was undefined once is checked at every access.
  readonly #tableCapacity: number = 0
  readonly #eventIdx: boolean = false
  readonly #strict: boolean = false
  readonly #notify: (next: number) => void
  readonly #books: QueueBooks
  readonly #memory: PackedRingMemory
  readonly #available: PackedAvailableDescriptors
  readonly #driverEvents: Uint32Array = new Uint32Array(0)
  readonly #deviceArea: PackedDeviceArea
  readonly #inOrder: PackedInOrder | undefined
  /** Position at which the device writes its next used descriptor. */
  #used = 0
  #lane: PackedLane | undefined

  /** @throws VirtioError `ring.size`; DmaError `memory.exhausted` */
  constructor(options: PackedVirtqueueOptions) {
    const { size, allocator, mapDeviceArea, adopted } = options
    const origin = ringOrigin(options)
    if (!(Number.isInteger(size) && size >= 1 && size <= PackedRing.MAX_SIZE))
      throw ringError('ring.size', origin, { size })
    const tableCapacity = options.indirect ? Math.min(options.indirectCapacity ?? 16, size) : 0
    const memory = new PackedRingMemory({ allocator, size, tableCapacity, ...(mapDeviceArea && { mapDeviceArea }) })
    const books = new QueueBooks(origin, size, options.inOrder ?? false)
    super(books, memory)
    this.#options = options
    this.#tableCapacity = tableCapacity
    this.#eventIdx = options.eventIdx
    this.#strict = options.trust === 'strict'
    this.#notify = options.notify
    this.#books = books
    this.#memory = memory
    this.#available = new PackedAvailableDescriptors(memory.descriptors, size)
    this.#driverEvents = memory.driverEvents
    this.#deviceArea = memory.deviceArea
    this.#inOrder = options.inOrder
      ? new PackedInOrder(books, memory.deviceArea, memory.driverEvents, this.#strict)
      : undefined
    if (adopted) books.wantsNotifications = adopted.usedNotifications
    else this.#clear()
  }

  addReadable(address: DeviceAddress, length: number, cookie: number): boolean {
    return this.#addOne(address, length, cookie, 0)
  }

  addWritable(address: DeviceAddress, length: number, cookie: number): boolean {
    return this.#addOne(address, length, cookie, DESC_F_WRITE << 16)
  }

  addChain(chain: ChainBuilder, cookie: number): boolean {
    const count = chain.count
    // VIRTIO 1.3 § 2.8.17 "Driver Requirements: Scatter-Gather Support"
    if (count === 0 || count > this.size) throw new RangeError(`a chain of ${count} buffers in a ring of ${this.size}`)
    const indirect = count > 1 && count <= this.#tableCapacity
    const taken = indirect ? 1 : count
    const books = this.#books
    if (taken > books.freeCount) return false
    const id = (books.next < 0 ? books.ids[--books.freeTop]! : books.takeNext()) & MAX_ID
    if (indirect) this.#placeTable(id, chain)
    else this.#available.placeChain(id, chain)
    // 2^32 writable bytes are legal, but the device cannot tell of more than 2^32 - 1.
    const capacity = chain.writableLength > 0xffffffff ? 0xffffffff : chain.writableLength
    this.#record(id, cookie, taken, capacity)
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
    books.published(count)
    // VIRTIO 1.3 § 2.8.21.1.1 "Driver Requirements: Updating flags": the device goes through the ring in order, so these flags
    // uncover everything behind them, which is complete by now.
    // VIRTIO 1.3 § 2.8.21.3.1 "Driver Requirements: Sending Available Buffer Notifications": the device writes its wish, then looks
    // at the flags once more; we write the flags, then read its wish. With a full barrier on both sides one sees the other's write.
    const descriptors = this.#available.unpublished
    const first = this.#available.publish()
    const wish = this.#deviceArea.eventSuppression()
    const flags = (wish >>> 16) & 3
    const wanted =
      this.#eventIdx && flags === EVENT_FLAGS_DESC
        ? descriptorEvent(wish & 0xffff, first, descriptors, this.size)
        : // The reserved value, or a descriptor's event nobody negotiated: no reason to leave the device asleep.
          flags !== EVENT_FLAGS_DISABLE
    if (wanted) this.notifyAlways()
    else books.counters[SUPPRESSED]!++
  }

  notifyAlways(): void {
    if (this.#books.halted) return
    this.#books.counters[SENT]!++
    // Last, as a device in this process may use the buffers, and its owner call back, before this returns.
    this.#notify(this.#nextAvailable())
  }

  popUsed(batch: UsedBatch): number {
    const books = this.#books
    if (books.halted || books.lane !== undefined) return 0
    if (books.unpublishedCount !== 0) books.flipUnpublished()
    if (this.#inOrder !== undefined) {
      const taken = this.#inOrder.take(batch, this.#used)
      return this.#settle(taken, this.#inOrder.position, this.#inOrder.violation)
    }
    const { cookies, written } = batch
    const deviceArea = this.#deviceArea
    const shadow = books.shadow
    const size = this.size
    const limit = cookies.length | 0
    let violation: VirtioError | undefined
    // First what is used, then, behind one barrier for all of it, what was written. Always the next descriptor only: a device
    // may write the used descriptors of a batch in any order, the first one last.
    let position = this.#used
    let found = 0
    for (; found < limit; found++) {
      const word = deviceArea.usedWord(position < size ? position : position - size)
      if ((word & USED_MASK) !== (position < size ? USED_MASK : 0)) break
      const id = word & 0xffff
      if (id >= size) {
        violation = ringError('ring.id-range', books.origin, { id, size })
        break
      }
      const count = (id << 2) + COUNT
      const descriptors = shadow[count]!
      if (descriptors <= 0) {
        violation = ringError('ring.not-head', books.origin, { id })
        break
      }
      // Once is enough: the same id again finds a count that is negative.
      shadow[count] = -descriptors
      cookies[found] = word & ID_AND_WRITE
      position += descriptors
      if (position >= 2 * size) position -= 2 * size
    }
    // A full barrier; the value is of no interest.
    Atomics.load(this.#driverEvents, 0)
    if (found === 0) return this.#settle(0, position, violation)
    position = this.#used
    const ids = books.ids
    let freeTop = books.freeTop
    let freed = 0
    let taken = 0
    for (; taken < found; taken++) {
      const word = cookies[taken]!
      const id = word & 0xffff
      const head = id << 2
      let length = deviceArea.usedLength(position < size ? position : position - size)
      const capacity = shadow[head + CAPACITY]! >>> 0
      if (length > capacity) {
        // VIRTIO 1.3 § 2.8.4 "Element Address and Length": without WRITE it is no length. Within bounds it is taken for one all
        // the same, as QEMU never sets WRITE in a used descriptor.
        const claimed = (word & WRITE) !== 0
        if (this.#strict && claimed && capacity !== 0) {
          violation = ringError('ring.length', books.origin, { id, written: length, capacity })
          break
        }
        length = claimed ? capacity : 0
        books.counters[CLAMPED]!++
      }
      const descriptors = -shadow[head + COUNT]!
      cookies[taken] = shadow[head + COOKIE]!
      written[taken] = length
      shadow[head + COUNT] = 0
      // Last in, first out: a shadow still in the cache goes first.
      ids[freeTop++] = id
      freed += descriptors
      position += descriptors
      if (position >= 2 * size) position -= 2 * size
    }
    books.freeTop = freeTop
    books.freeCount += freed
    return this.#settle(taken, position, violation)
  }

  hasUsed(): boolean {
    if (this.#books.halted) return false
    const known = this.#lane ?? this.#inOrder
    if (known !== undefined && known.left > 0) return true
    const position = this.#used
    const size = this.size
    const word = this.#deviceArea.nextUsedWord(position < size ? position : position - size)
    return (word & USED_MASK) === (position < size ? USED_MASK : 0)
  }

  disableUsedNotifications(): void {
    if (this.#books.halted) return
    this.#books.wantsNotifications = false
    this.#driverEvents[0] = EVENT_FLAGS_DISABLE << 16
  }

  enableUsedNotifications(): boolean {
    if (this.#books.halted) return false
    this.#books.wantsNotifications = true
    // A full barrier again: the device writes flags, then reads this; we write this, then read flags.
    Atomics.store(this.#driverEvents, 0, this.#eventIdx ? this.#nextUsedEvent() : EVENT_FLAGS_ENABLE << 16)
    return this.hasUsed()
  }

  transfer(): VirtqueueTransfer {
    const books = this.#books
    books.handOver()
    const { queue: index, ...origin } = books.origin
    return {
      format: 'packed',
      index,
      size: this.size,
      addresses: this.addresses,
      tablesAddress: this.#memory.tablesAddress,
      tableCapacity: this.#tableCapacity,
      eventIdx: this.#eventIdx,
      inOrder: this.#inOrder !== undefined,
      legacy: false,
      startIndex: 0,
      usedNotifications: books.wantsNotifications,
      trust: this.#options.trust,
      ...origin,
    }
  }

  override reset(): Int32Array {
    const cookies = super.reset()
    this.#inOrder?.reset()
    this.#lane = undefined
    this.#available.reset()
    this.#used = 0
    this.#clear()
    return cookies
  }

  #openLane(row: LaneRow, writable: boolean): PackedLane {
    const queue = {
      books: this.#books,
      available: this.#available,
      driverEvents: this.#driverEvents,
      deviceArea: this.#deviceArea,
      inOrder: this.#inOrder !== undefined,
      strict: this.#strict,
      used: () => this.#used,
      publish: (count: number) => {
        this.#books.unpublishedCount = count
        this.publish()
      },
      settle: (count: number, position: number, violation: VirtioError | undefined) =>
        this.#settle(count, position, violation),
    }
    this.#lane = new PackedLane(queue, row, writable)
    return this.#lane
  }

  /** The end of every `popUsed`. */
  #settle(count: number, position: number, violation: VirtioError | undefined): number {
    const books = this.#books
    if (books.unpublishedCount !== 0) books.flipUnpublished()
    if (count > 0) {
      this.#used = position
      books.outstandingCount -= count
      books.counters[USED]! += count
      // A full barrier: what the device uses from here on is notified, what it used before is there at the next call.
      if (this.#eventIdx && books.wantsNotifications) Atomics.store(this.#driverEvents, 0, this.#nextUsedEvent())
    }
    if (violation !== undefined) books.fail(violation)
    return count
  }

  #clear(): void {
    this.#memory.clear()
    if (this.#eventIdx) Atomics.store(this.#driverEvents, 0, this.#nextUsedEvent())
  }

  /** @see VIRTIO 1.3 § 2.8.16 "Driver Requirements: The Virtqueue Descriptor Table" */
  #nextAvailable(): number {
    const { first } = this.#available
    return first < this.size ? first | EVENT_WRAP : first - this.size
  }

  /** @see VIRTIO 1.3 § 2.8.14 "Event Suppression Structure Format" */
  #nextUsedEvent(): number {
    const position = this.#used
    const event = position < this.size ? position | EVENT_WRAP : position - this.size
    return event | (EVENT_FLAGS_DESC << 16)
  }

  /** @param flags as in a descriptor's fourth word */
  #addOne(address: number, length: number, cookie: number, flags: number): boolean {
    // An unsigned 32-bit integer, by comparing integers only.
    if (length >>> 0 !== length || length === 0) throw new RangeError(`a buffer of ${length} bytes`)
    const books = this.#books
    if (books.freeCount === 0) return false
    const id = (books.next < 0 ? books.ids[--books.freeTop]! : books.takeNext()) & MAX_ID
    this.#available.place(address, length, id | flags)
    this.#record(id, cookie, 1, flags === 0 ? 0 : length)
    return true
  }

  #record(id: number, cookie: number, descriptors: number, capacity: number): void {
    const books = this.#books
    const shadow = books.shadow
    const at = id << 2
    books.freeCount -= descriptors
    shadow[at + COOKIE] = cookie
    shadow[at + CAPACITY] = capacity
    shadow[at + COUNT] = descriptors
    const count = books.unpublishedCount
    books.ids[this.size + count] = id
    books.unpublishedCount = count + 1
  }

  /** @see VIRTIO 1.3 § 2.8.7 "Indirect Flag: Scatter-Gather Support" */
  #placeTable(id: number, chain: ChainBuilder): void {
    const offset = id * this.#tableCapacity * PackedRing.DESCRIPTOR_SIZE
    fillPackedTable(this.#memory.tables, offset >> 2, chain)
    const length = chain.count * PackedRing.DESCRIPTOR_SIZE
    this.#available.place(this.#memory.tablesAddress + offset, length, id | (DESC_F_INDIRECT << 16))
  }
}
