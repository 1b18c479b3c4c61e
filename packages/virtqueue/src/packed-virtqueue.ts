import type { DeviceAddress } from '@virtio-ts/memory'
import { PackedRing, type VirtioError } from '@virtio-ts/spec'
import { callListener } from './call-listener.ts'
import type { ChainBuilder } from './chain-builder.ts'
import { descriptorEvent } from './descriptor-event.ts'
import { fillPackedTable } from './fill-packed-table.ts'
import { PackedAvailableDescriptors } from './packed-available-descriptors.ts'
import type { PackedDeviceArea } from './packed-device-area.ts'
import { PackedRingMemory } from './packed-ring-memory.ts'
import type { PackedVirtqueueOptions } from './packed-virtqueue-options.ts'
import { type RingOrigin, ringError } from './ring-error.ts'
import type { OwnedVirtqueue, QueueAddresses, UsedBatch, VirtqueueStats } from './virtqueue.ts'

const { DESC_F_WRITE, DESC_F_INDIRECT, DESC_F_AVAIL, DESC_F_USED } = PackedRing
const { EVENT_WRAP, EVENT_FLAGS_ENABLE, EVENT_FLAGS_DISABLE, EVENT_FLAGS_DESC } = PackedRing

// Flags as they stand in a descriptor's fourth word, above the id.
const USED_MASK = (DESC_F_AVAIL | DESC_F_USED) << 16
const ID_AND_WRITE = (DESC_F_WRITE << 16) | 0xffff
const WRITE = DESC_F_WRITE << 16

// The shadow of a buffer id: four words side by side, so that using a chain touches one cache line.
const COOKIE = 0
/** Bytes the device may write into the chain of this id, as an unsigned number. */
const CAPACITY = 1
/** How many descriptors that chain takes: negative until it is published and once it was found used, 0 if there is none. */
const COUNT = 2
/** The next free id. */
const NEXT = 3

// Positions of the counters: doubles, since an integer field changes its representation beyond 2^31.
const ADDED = 0
const USED = 1
const SENT = 2
const SUPPRESSED = 3
const CLAMPED = 4

/**
 * The driver half of a packed virtqueue.
 *
 * A place in the ring is a position on a circle of twice its size: below the size the wrap counter is 1, from there on 0. What
 * the driver has to know of a chain stays in its private shadow, by buffer id: how far to go on after a used descriptor is never
 * taken from the ring, which both sides write. Each field there is read once, through `PackedDeviceArea`.
 * @see VIRTIO 1.3 § 2.8 "Packed Virtqueues"
 */
export class PackedVirtqueue implements OwnedVirtqueue {
  readonly index: number
  readonly size: number
  readonly addresses: QueueAddresses
  readonly maxChain: number
  readonly #tableCapacity: number
  readonly #eventIdx: boolean
  readonly #strict: boolean
  readonly #notify: () => void
  readonly #origin: RingOrigin
  readonly #memory: PackedRingMemory
  readonly #available: PackedAvailableDescriptors
  readonly #driverEvents: Uint32Array
  readonly #deviceArea: PackedDeviceArea

  readonly #shadow: Int32Array
  #freeId = 0
  /** Descriptors of the ring; there is an id for each. */
  #freeCount = 0
  /** Ids added and not yet published, in order. */
  readonly #unpublished: Uint16Array
  #unpublishedCount = 0
  /** Chains published and not yet used. */
  #outstandingCount = 0
  /** Position at which the device writes its next used descriptor. */
  #used = 0
  #wantsNotifications = true
  readonly #counters = new Float64Array(5)
  #broken: VirtioError | undefined
  #released = false
  readonly #listeners: ((reason: VirtioError) => void)[] = []

  /** @throws VirtioError `ring.size`; DmaError `memory.exhausted` */
  constructor(options: PackedVirtqueueOptions) {
    const { index, size, device, generation, mapDeviceArea } = options
    this.#origin = {
      queue: index,
      ...(device !== undefined && { device }),
      ...(generation !== undefined && { generation }),
    }
    if (!(Number.isInteger(size) && size >= 1 && size <= PackedRing.MAX_SIZE))
      throw ringError('ring.size', this.#origin, { size })
    this.index = index
    this.size = size
    // VIRTIO 1.3 § 2.8.17 "Driver Requirements: Scatter-Gather Support"
    this.maxChain = size
    this.#tableCapacity = options.indirect ? Math.min(options.indirectCapacity ?? 16, size) : 0
    this.#eventIdx = options.eventIdx
    this.#strict = options.trust === 'strict'
    this.#notify = options.notify
    this.#memory = new PackedRingMemory({
      allocator: options.allocator,
      size,
      tableCapacity: this.#tableCapacity,
      ...(mapDeviceArea && { mapDeviceArea }),
    })
    this.addresses = this.#memory.addresses
    this.#available = new PackedAvailableDescriptors(this.#memory.descriptors, size)
    this.#driverEvents = this.#memory.driverEvents
    this.#deviceArea = this.#memory.deviceArea
    this.#shadow = new Int32Array(size << 2)
    this.#unpublished = new Uint16Array(size)
    this.#initialize()
  }

  get free(): number {
    return this.#broken === undefined ? this.#freeCount : 0
  }

  get inFlight(): number {
    return this.#outstandingCount + this.#unpublishedCount
  }

  get broken(): VirtioError | undefined {
    return this.#broken
  }

  get stats(): VirtqueueStats {
    const counters = this.#counters
    return {
      added: counters[ADDED]! + this.#unpublishedCount,
      used: counters[USED]!,
      notificationsSent: counters[SENT]!,
      notificationsSuppressed: counters[SUPPRESSED]!,
      lengthsClamped: counters[CLAMPED]!,
      inFlight: this.inFlight,
    }
  }

  addReadable(address: DeviceAddress, length: number, cookie: number): boolean {
    return this.#addOne(address, length, cookie, 0)
  }

  addWritable(address: DeviceAddress, length: number, cookie: number): boolean {
    return this.#addOne(address, length, cookie, DESC_F_WRITE)
  }

  addChain(chain: ChainBuilder, cookie: number): boolean {
    const count = chain.count
    if (count === 0 || count > this.size) throw new RangeError(`a chain of ${count} buffers in a ring of ${this.size}`)
    if (this.#broken !== undefined) return false
    const indirect = count > 1 && count <= this.#tableCapacity
    const taken = indirect ? 1 : count
    if (taken > this.#freeCount) return false
    const id = this.#freeId
    if (indirect) this.#placeTable(id, chain)
    else this.#available.placeChain(id, chain)
    this.#record(id, cookie, taken, chain.writableLength)
    return true
  }

  publish(): void {
    const count = this.#unpublishedCount
    if (count === 0 || this.#broken !== undefined) return
    const shadow = this.#shadow
    const unpublished = this.#unpublished
    for (let i = 0; i < count; i++) {
      const at = (unpublished[i]! << 2) + COUNT
      shadow[at] = -shadow[at]!
    }
    this.#unpublishedCount = 0
    this.#outstandingCount += count
    this.#counters[ADDED]! += count
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
    else this.#counters[SUPPRESSED]!++
  }

  notifyAlways(): void {
    if (this.#broken !== undefined) return
    this.#counters[SENT]!++
    // Last, as a device in this process may use the buffers, and its owner call back, before this returns.
    this.#notify()
  }

  popUsed(batch: UsedBatch): number {
    if (this.#broken !== undefined) return 0
    const { cookies, written } = batch
    const deviceArea = this.#deviceArea
    const shadow = this.#shadow
    const size = this.size
    const limit = cookies.length
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
        violation = ringError('ring.id-range', this.#origin, { id, size })
        break
      }
      const count = (id << 2) + COUNT
      const descriptors = shadow[count]!
      if (descriptors <= 0) {
        violation = ringError('ring.not-head', this.#origin, { id })
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
    if (found === 0) {
      if (violation !== undefined) this.fail(violation)
      return 0
    }
    position = this.#used
    let freeId = this.#freeId
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
          violation = ringError('ring.length', this.#origin, { id, written: length, capacity })
          break
        }
        length = claimed ? capacity : 0
        this.#counters[CLAMPED]!++
      }
      const descriptors = -shadow[head + COUNT]!
      cookies[taken] = shadow[head + COOKIE]!
      written[taken] = length
      shadow[head + COUNT] = 0
      // The free list is last in, first out: a shadow still in the cache goes first.
      shadow[head + NEXT] = freeId
      freeId = id
      freed += descriptors
      position += descriptors
      if (position >= 2 * size) position -= 2 * size
    }
    this.#freeId = freeId
    this.#freeCount += freed
    this.#used = position
    this.#outstandingCount -= taken
    this.#counters[USED]! += taken
    // A full barrier: what the device uses from here on is notified, what it used before is there at the next call.
    if (this.#eventIdx && this.#wantsNotifications) Atomics.store(this.#driverEvents, 0, this.#nextUsedEvent())
    if (violation !== undefined) this.fail(violation)
    return taken
  }

  hasUsed(): boolean {
    if (this.#broken !== undefined) return false
    const position = this.#used
    const size = this.size
    const word = this.#deviceArea.nextUsedWord(position < size ? position : position - size)
    return (word & USED_MASK) === (position < size ? USED_MASK : 0)
  }

  disableUsedNotifications(): void {
    if (this.#broken !== undefined) return
    this.#wantsNotifications = false
    this.#driverEvents[0] = EVENT_FLAGS_DISABLE << 16
  }

  enableUsedNotifications(): boolean {
    if (this.#broken !== undefined) return false
    this.#wantsNotifications = true
    // A full barrier again: the device writes flags, then reads this; we write this, then read flags.
    Atomics.store(this.#driverEvents, 0, this.#eventIdx ? this.#nextUsedEvent() : EVENT_FLAGS_ENABLE << 16)
    return this.hasUsed()
  }

  fail(reason: VirtioError): void {
    if (this.#broken !== undefined) return
    this.#broken = reason
    // A copy: one that is added meanwhile is called by `onBroken` itself.
    const listeners = this.#listeners.slice()
    for (const listener of listeners) callListener(listener, reason)
  }

  onBroken(listener: (reason: VirtioError) => void): void {
    this.#listeners.push(listener)
    if (this.#broken !== undefined) callListener(listener, this.#broken)
  }

  reset(): Int32Array {
    if (this.#released) throw ringError('ring.released', this.#origin)
    const cookies: number[] = []
    for (let id = 0; id < this.size; id++) {
      if (this.#shadow[(id << 2) + COUNT] !== 0) cookies.push(this.#shadow[(id << 2) + COOKIE]!)
    }
    this.#counters[ADDED]! += this.#unpublishedCount
    this.#initialize()
    return Int32Array.from(cookies)
  }

  release(): void {
    if (this.#retire()) this.#memory.free()
  }

  quarantine(): void {
    if (this.#retire()) this.#memory.quarantine()
  }

  /** @see VIRTIO 1.3 § 2.8.14 "Event Suppression Structure Format" */
  #nextUsedEvent(): number {
    const position = this.#used
    const event = position < this.size ? position | EVENT_WRAP : position - this.size
    return event | (EVENT_FLAGS_DESC << 16)
  }

  #addOne(address: number, length: number, cookie: number, flags: number): boolean {
    if (!(length >= 1 && length <= 0xffffffff)) throw new RangeError(`a buffer of ${length} bytes`)
    if (this.#freeCount === 0 || this.#broken !== undefined) return false
    const id = this.#freeId
    this.#available.place(0, address, length, id | (flags << 16))
    this.#record(id, cookie, 1, flags === 0 ? 0 : length)
    return true
  }

  #record(id: number, cookie: number, descriptors: number, capacity: number): void {
    const shadow = this.#shadow
    const at = id << 2
    this.#freeId = shadow[at + NEXT]!
    this.#freeCount -= descriptors
    shadow[at + COOKIE] = cookie
    // 2^32 writable bytes are legal, but the device cannot tell of more than 2^32 - 1.
    shadow[at + CAPACITY] = capacity > 0xffffffff ? 0xffffffff : capacity
    shadow[at + COUNT] = -descriptors
    this.#unpublished[this.#unpublishedCount++] = id
    this.#available.advance(descriptors)
  }

  /** @see VIRTIO 1.3 § 2.8.7 "Indirect Flag: Scatter-Gather Support" */
  #placeTable(id: number, chain: ChainBuilder): void {
    const offset = id * this.#tableCapacity * PackedRing.DESCRIPTOR_SIZE
    fillPackedTable(this.#memory.tables, offset >> 2, chain)
    const length = chain.count * PackedRing.DESCRIPTOR_SIZE
    this.#available.place(0, this.#memory.tablesAddress + offset, length, id | (DESC_F_INDIRECT << 16))
  }

  #initialize(): void {
    this.#shadow.fill(0)
    for (let id = 0; id < this.size; id++) this.#shadow[(id << 2) + NEXT] = id + 1
    this.#freeId = 0
    this.#freeCount = this.size
    this.#unpublishedCount = 0
    this.#outstandingCount = 0
    this.#available.reset()
    this.#used = 0
    this.#wantsNotifications = true
    this.#broken = undefined
    this.#memory.clear()
    if (this.#eventIdx) Atomics.store(this.#driverEvents, 0, this.#nextUsedEvent())
  }

  #retire(): boolean {
    if (this.#released) return false
    this.#released = true
    this.#broken ??= ringError('ring.released', this.#origin)
    return true
  }
}
