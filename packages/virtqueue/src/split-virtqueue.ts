import type { DeviceAddress } from '@virtio-ts/memory'
import { SplitRing, type VirtioError } from '@virtio-ts/spec'
import { callListener } from './call-listener.ts'
import type { ChainBuilder } from './chain-builder.ts'
import type { DeviceArea } from './device-area.ts'
import { fillIndirectTable } from './fill-indirect-table.ts'
import { needEvent } from './need-event.ts'
import { type RingOrigin, ringError } from './ring-error.ts'
import { SplitRingMemory } from './split-ring-memory.ts'
import type { SplitVirtqueueOptions } from './split-virtqueue-options.ts'
import type { OwnedVirtqueue, QueueAddresses, UsedBatch, VirtqueueStats } from './virtqueue.ts'
import { writeDescriptor } from './write-descriptor.ts'

// Positions in the driver area, in 16-bit fields; used_event follows the ring.
const AVAIL_FLAGS = SplitRing.AVAIL_FLAGS >> 1
const AVAIL_IDX = SplitRing.AVAIL_IDX >> 1
const AVAIL_RING = SplitRing.AVAIL_RING >> 1

// The shadow of a descriptor: four words side by side, so that using a chain touches one cache line.
const COOKIE = 0
/** Bytes the device may write into the chain that begins here, as an unsigned number. */
const CAPACITY = 1
/** How many descriptors the chain that begins here takes: negative until it is published, 0 if none begins here. */
const COUNT = 2
/** The next descriptor of the chain or of the free list. */
const NEXT = 3

// Positions of the counters: doubles, since an integer field changes its representation beyond 2^31.
const ADDED = 0
const USED = 1
const SENT = 2
const SUPPRESSED = 3
const CLAMPED = 4

/**
 * The driver half of a split virtqueue.
 *
 * What the driver has to know of a chain stays in its private shadow. The descriptors and the available ring are only
 * written, never read back, as a device can scribble over them; the device area is read through `DeviceArea`, each field once.
 * @see VIRTIO 1.3 § 2.7 "Split Virtqueues"
 */
export class SplitVirtqueue implements OwnedVirtqueue {
  readonly index: number
  readonly size: number
  readonly addresses: QueueAddresses
  readonly maxChain: number
  readonly #tableCapacity: number
  readonly #eventIdx: boolean
  readonly #strict: boolean
  readonly #startIndex: number
  readonly #notify: () => void
  readonly #origin: RingOrigin
  readonly #memory: SplitRingMemory
  readonly #descriptors: Uint32Array
  readonly #driverArea: Uint16Array
  readonly #deviceArea: DeviceArea

  readonly #shadow: Int32Array
  #freeHead = 0
  #freeCount = 0
  /** Heads added and not yet published, in order. */
  readonly #unpublished: Uint16Array
  #unpublishedCount = 0
  /** Chains published and not yet used. */
  #outstandingCount = 0
  #availableIndex = 0
  #usedIndex = 0
  #wantsNotifications = true
  readonly #counters = new Float64Array(5)
  #broken: VirtioError | undefined
  #released = false
  readonly #listeners: ((reason: VirtioError) => void)[] = []

  /** @throws VirtioError `ring.size`; DmaError `memory.exhausted` */
  constructor(options: SplitVirtqueueOptions) {
    const { index, size, device, generation, mapDeviceArea } = options
    this.#origin = {
      queue: index,
      ...(device !== undefined && { device }),
      ...(generation !== undefined && { generation }),
    }
    const isPowerOfTwo = size >= 1 && Number.isInteger(size) && (size & (size - 1)) === 0
    if (!isPowerOfTwo || size > SplitRing.MAX_SIZE) throw ringError('ring.size', this.#origin, { size })
    this.index = index
    this.size = size
    this.maxChain = size
    // A table never holds more than the queue's size: that bounds every chain, indirect or not.
    this.#tableCapacity = options.indirect ? Math.min(options.indirectCapacity ?? 16, size) : 0
    this.#eventIdx = options.eventIdx
    this.#strict = options.trust === 'strict'
    this.#startIndex = (options.startIndex ?? 0) & 0xffff
    this.#notify = options.notify
    this.#memory = new SplitRingMemory({
      allocator: options.allocator,
      size,
      legacy: options.legacy,
      tableCapacity: this.#tableCapacity,
      ...(mapDeviceArea && { mapDeviceArea }),
    })
    this.addresses = this.#memory.addresses
    this.#descriptors = this.#memory.descriptors
    this.#driverArea = this.#memory.driverArea
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
    return this.#addOne(address, length, cookie, SplitRing.DESC_F_WRITE)
  }

  addChain(chain: ChainBuilder, cookie: number): boolean {
    const count = chain.count
    // VIRTIO 1.3 § 2.7.5.3.1 "Driver Requirements: Indirect Descriptors": the limit holds for indirect chains too.
    if (count === 0 || count > this.size) throw new RangeError(`a chain of ${count} buffers in a ring of ${this.size}`)
    if (this.#broken !== undefined) return false
    const indirect = count > 1 && count <= this.#tableCapacity
    const taken = indirect ? 1 : count
    if (taken > this.#freeCount) return false
    const head = this.#freeHead
    if (indirect) this.#placeInTable(chain)
    else this.#placeInRing(chain)
    this.#record(head, cookie, taken, chain.writableLength)
    return true
  }

  publish(): void {
    const count = this.#unpublishedCount
    if (count === 0 || this.#broken !== undefined) return
    const driverArea = this.#driverArea
    const unpublished = this.#unpublished
    const shadow = this.#shadow
    const mask = this.size - 1
    const old = this.#availableIndex
    for (let i = 0; i < count; i++) {
      const head = unpublished[i]!
      const at = (head << 2) + COUNT
      shadow[at] = -shadow[at]!
      driverArea[AVAIL_RING + ((old + i) & mask)] = head
    }
    const next = (old + count) & 0xffff
    this.#availableIndex = next
    this.#unpublishedCount = 0
    this.#outstandingCount += count
    this.#counters[ADDED]! += count
    // VIRTIO 1.3 § 2.7.13.3.1 "Driver Requirements: Updating idx": the device reads idx first, and then finds
    // descriptors and ring entries complete.
    // VIRTIO 1.3 § 2.7.13.4.1 "Driver Requirements: Notifying The Device": the device writes its wish, then looks at idx once
    // more; we write idx, then read its wish. With a full barrier on both sides at least one sees the other's write.
    Atomics.store(driverArea, AVAIL_IDX, next)
    // VIRTIO 1.3 § 2.7.10.1 "Driver Requirements: Available Buffer Notification Suppression"
    const wanted = this.#eventIdx
      ? needEvent(this.#deviceArea.availEvent(), next, old, 0xffff)
      : (this.#deviceArea.usedFlags() & SplitRing.USED_F_NO_NOTIFY) === 0
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
    const deviceArea = this.#deviceArea
    let last = this.#usedIndex
    const used = (deviceArea.usedIndex() - last) & 0xffff
    if (used === 0) return 0
    if (used > this.#outstandingCount) return this.#indexViolation(used)
    const { cookies, written } = batch
    const shadow = this.#shadow
    const size = this.size
    const limit = used < cookies.length ? used : cookies.length
    let freeHead = this.#freeHead
    let freed = 0
    let count = 0
    let violation: VirtioError | undefined
    for (; count < limit; count++) {
      const slot = last & (size - 1)
      const id = deviceArea.usedId(slot)
      // The whole 32 bits: cut to 16, an id of 65536 would pass for descriptor 0.
      if (id >= size) {
        violation = ringError('ring.id-range', this.#origin, { id, size })
        break
      }
      const head = id << 2
      const descriptors = shadow[head + COUNT]!
      if (descriptors <= 0) {
        violation = ringError('ring.not-head', this.#origin, { id })
        break
      }
      let length = deviceArea.usedLength(slot)
      const capacity = shadow[head + CAPACITY]! >>> 0
      if (length > capacity) {
        // Real devices report lengths for chains without a writable part (vhost-vsock, OpenAMP): harmless, so ignored.
        if (this.#strict && capacity !== 0) {
          violation = ringError('ring.length', this.#origin, { id, written: length, capacity })
          break
        }
        length = capacity
        this.#counters[CLAMPED]!++
      }
      cookies[count] = shadow[head + COOKIE]!
      written[count] = length
      shadow[head + COUNT] = 0
      // The free list is last in, first out: descriptors still in the cache go first.
      let tail = head
      for (let i = 1; i < descriptors; i++) tail = shadow[tail + NEXT]! << 2
      shadow[tail + NEXT] = freeHead
      freeHead = id
      freed += descriptors
      last = (last + 1) & 0xffff
    }
    this.#freeHead = freeHead
    this.#freeCount += freed
    this.#usedIndex = last
    this.#outstandingCount -= count
    this.#counters[USED]! += count
    // A full barrier: what the device uses from here on is notified, what it used before is there at the next call.
    if (this.#eventIdx && this.#wantsNotifications) Atomics.store(this.#driverArea, AVAIL_RING + size, last)
    if (violation !== undefined) this.fail(violation)
    return count
  }

  hasUsed(): boolean {
    return this.#broken === undefined && this.#deviceArea.usedIndex() !== this.#usedIndex
  }

  disableUsedNotifications(): void {
    if (this.#broken !== undefined) return
    this.#wantsNotifications = false
    // VIRTIO 1.3 § 2.7.7.1 "Driver Requirements: Used Buffer Notification Suppression": with EVENT_IDX, flags stays 0.
    // The entry asked for instead is the one just passed: it comes round again after 65535 others.
    if (this.#eventIdx) this.#driverArea[AVAIL_RING + this.size] = this.#usedIndex - 1
    else this.#driverArea[AVAIL_FLAGS] = SplitRing.AVAIL_F_NO_INTERRUPT
  }

  enableUsedNotifications(): boolean {
    if (this.#broken !== undefined) return false
    this.#wantsNotifications = true
    // A full barrier again: the device writes idx, then reads this; we write this, then read idx.
    if (this.#eventIdx) Atomics.store(this.#driverArea, AVAIL_RING + this.size, this.#usedIndex)
    else Atomics.store(this.#driverArea, AVAIL_FLAGS, 0)
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
    for (let head = 0; head < this.size; head++) {
      if (this.#shadow[(head << 2) + COUNT] !== 0) cookies.push(this.#shadow[(head << 2) + COOKIE]!)
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

  #addOne(address: number, length: number, cookie: number, flags: number): boolean {
    if (!(length >= 1 && length <= 0xffffffff)) throw new RangeError(`a buffer of ${length} bytes`)
    const free = this.#freeCount
    if (free === 0 || this.#broken !== undefined) return false
    const head = this.#freeHead
    this.#freeHead = this.#shadow[(head << 2) + NEXT]!
    this.#freeCount = free - 1
    writeDescriptor(this.#descriptors, head << 2, address, length, flags)
    this.#record(head, cookie, 1, flags === 0 ? 0 : length)
    return true
  }

  #record(head: number, cookie: number, descriptors: number, capacity: number): void {
    const shadow = this.#shadow
    const at = head << 2
    shadow[at + COOKIE] = cookie
    // 2^32 writable bytes are legal, but the device cannot tell of more than 2^32 - 1.
    shadow[at + CAPACITY] = capacity > 0xffffffff ? 0xffffffff : capacity
    shadow[at + COUNT] = -descriptors
    this.#unpublished[this.#unpublishedCount++] = head
  }

  /** @see VIRTIO 1.3 § 2.7.13.1 "Placing Buffers Into The Descriptor Table" */
  #placeInRing(chain: ChainBuilder): void {
    const { addresses, lengths, readable, count } = chain
    let descriptor = this.#freeHead
    for (let i = 0; i < count; i++) {
      const next = this.#shadow[(descriptor << 2) + NEXT]!
      const flags = i < readable ? 0 : SplitRing.DESC_F_WRITE
      const link = i < count - 1 ? SplitRing.DESC_F_NEXT | (next << 16) : 0
      writeDescriptor(this.#descriptors, descriptor << 2, addresses[i]!, lengths[i]!, flags | link)
      descriptor = next
    }
    this.#freeHead = descriptor
    this.#freeCount -= count
  }

  /** @see VIRTIO 1.3 § 2.7.5.3 "Indirect Descriptors" */
  #placeInTable(chain: ChainBuilder): void {
    const head = this.#freeHead
    const offset = head * this.#tableCapacity * SplitRing.DESCRIPTOR_SIZE
    fillIndirectTable(this.#memory.tables, offset >> 2, chain)
    const table = this.#memory.tablesAddress + offset
    const length = chain.count * SplitRing.DESCRIPTOR_SIZE
    writeDescriptor(this.#descriptors, head << 2, table, length, SplitRing.DESC_F_INDIRECT)
    this.#freeHead = this.#shadow[(head << 2) + NEXT]!
    this.#freeCount -= 1
  }

  #indexViolation(jump: number): 0 {
    this.fail(ringError('ring.idx-jump', this.#origin, { jump, outstanding: this.#outstandingCount }))
    return 0
  }

  #initialize(): void {
    this.#shadow.fill(0)
    for (let i = 0; i < this.size; i++) this.#shadow[(i << 2) + NEXT] = i + 1
    this.#freeHead = 0
    this.#freeCount = this.size
    this.#unpublishedCount = 0
    this.#outstandingCount = 0
    this.#availableIndex = this.#startIndex
    this.#usedIndex = this.#startIndex
    this.#wantsNotifications = true
    this.#broken = undefined
    this.#memory.initialize(this.#startIndex)
  }

  #retire(): boolean {
    if (this.#released) return false
    this.#released = true
    this.#broken ??= ringError('ring.released', this.#origin)
    return true
  }
}
