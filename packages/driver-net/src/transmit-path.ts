import { ChainBuilder, type UsedBatch, usedBatch, type Virtqueue } from '@virtio-ts/core'
import type { DeviceAddress } from '@virtio-ts/memory'
import { NetHeader } from '@virtio-ts/spec'
import { NetHeaderFields, type NetHeaderLength } from './net-header.ts'
import { NetHeaderFault, type NetHeaderFaultCode, netHeaderFaultNames } from './net-header-fault.ts'
import type { PacketMemory } from './packet-memory.ts'
import type { BufferRow } from './packet-layout.ts'
import { validateTransmitHeader } from './transmit-header.ts'
import { ETHERNET_HEADER } from './net-limits.ts'
import { type NetHeaderPolicy, validateFrameLength } from './validate-net-header.ts'

export interface TransmitPathOptions {
  readonly queue: Virtqueue
  readonly memory: PacketMemory
  readonly small: BufferRow
  readonly large: BufferRow
  /** Bytes in front of each frame. */
  readonly headroom: number
  /** Chains the queue holds. */
  readonly chains: number
  readonly headerLength: NetHeaderLength
  /** The header goes into a descriptor of its own. */
  readonly splitHeader: boolean
  readonly policy: NetHeaderPolicy
  /** Whether the device can notify us of space. */
  readonly notified: boolean
  /** Told when `reserve()` finds no slot, after it found some. */
  readonly onFull?: () => void
}

const BATCH = 64

const FREE = 0
const RESERVED = 1
const IN_FLIGHT = 2

const PACKETS = 0
const BYTES = 1
const FULL = 2
const COMPLETED = 3

/**
 * Slots for frames on their way out: reserved, filled by their owner, committed, published in batches, and taken back when the
 * device has used them - late, as nobody waits for that until slots run out. Nothing is allocated per packet.
 * @see VIRTIO 1.3 § 5.1.6.2 "Packet Transmission"
 */
export class TransmitPath {
  readonly #options: TransmitPathOptions
  readonly #queue: Virtqueue
  readonly #bytes: Uint8Array
  readonly #chain = new ChainBuilder(2)
  readonly #fields = new NetHeaderFields()
  readonly #batch: UsedBatch = usedBatch(BATCH)
  readonly #counters = new Float64Array(4)
  readonly #dropped: Float64Array = new Float64Array(netHeaderFaultNames.length)

  readonly #clearLength: number
  readonly #smallCapacity: number
  readonly #largestCapacity: number
  readonly #smallCount: number
  /** By slot; the small ones come first. */
  readonly #frames: Int32Array
  readonly #states: Uint8Array
  /** Free slots, last in first out: the last one's memory is the likeliest to be in a cache. */
  readonly #freeSmall: Int32Array
  readonly #freeLarge: Int32Array
  #freeSmallCount = 0
  #freeLargeCount = 0
  /** Reserved or in flight: never more than the queue has chains. */
  #outstanding = 0
  #inFlight = 0
  /** Since the last `publish()`, as integers. */
  #packets = 0
  #octets = 0
  /** The length for which there was no slot, 0 when nobody waits. */
  #wanted = 0
  #enabled = true
  #stopped = false

  // What the calls for each packet need, without going through the options.
  /** Longest frame that gets a small slot straight away: -1 where the path is not enabled. */
  #straight: number
  readonly #chains: number
  readonly #words: Uint32Array
  /** Words in front of a frame to clear: 0 where headers are not at multiples of four bytes. */
  readonly #headerWords: number
  readonly #headerLength: number
  readonly #splitHeader: boolean
  /** Where the device sees the header of a frame at offset 0. */
  readonly #address: number
  readonly #maxFrame: number

  constructor(options: TransmitPathOptions) {
    const { small, large, headroom, memory, headerLength, policy } = options
    const { bytes } = memory
    this.#options = options
    this.#queue = options.queue
    this.#bytes = bytes
    this.#clearLength = Math.max(headerLength, NetHeader.LENGTH)
    this.#smallCapacity = small.length - headroom
    this.#largestCapacity = (large.count > 0 ? large.length : small.length) - headroom
    this.#smallCount = small.count
    this.#straight = this.#smallCapacity
    this.#chains = options.chains
    const places = bytes.byteOffset | headroom | small.offset | small.stride | large.offset | large.stride
    const aligned = (places & 3) === 0
    this.#words = aligned ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) : new Uint32Array(0)
    this.#headerWords = aligned ? this.#clearLength >> 2 : 0
    this.#headerLength = headerLength
    this.#splitHeader = options.splitHeader
    this.#address = memory.deviceAddress - headerLength
    this.#maxFrame = policy.maxFrame
    const slots = small.count + large.count
    this.#frames = new Int32Array(slots)
    this.#states = new Uint8Array(slots)
    this.#freeSmall = new Int32Array(small.count)
    this.#freeLarge = new Int32Array(large.count)
    for (let slot = slots - 1; slot >= 0; slot--) {
      const inLarge = slot - small.count
      this.#frames[slot] =
        headroom + (inLarge < 0 ? small.offset + slot * small.stride : large.offset + inLarge * large.stride)
      this.#giveBack(slot)
    }
  }

  /** Longest frame a slot takes. */
  get largestCapacity(): number {
    return this.#largestCapacity
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Used buffers taken back so far: what a watchdog compares. */
  get completed(): number {
    return this.#counters[COMPLETED]!
  }

  /** Someone was told there is no room. */
  get full(): boolean {
    return this.#wanted > 0
  }

  /** Someone was told there is no room, and now there is. */
  get owesSpace(): boolean {
    return this.#wanted > 0 && this.#hasSlot(this.#wanted)
  }

  reserve(length: number): number {
    const count = this.#freeSmallCount
    if (length > this.#straight || count === 0 || this.#outstanding >= this.#chains) return this.#reserveElse(length)
    const slot = this.#freeSmall[count - 1]!
    this.#freeSmallCount = count - 1
    this.#outstanding++
    this.#states[slot] = RESERVED
    return slot
  }

  frameOffset(slot: number): number {
    return this.#frames[slot]!
  }

  capacity(slot: number): number {
    return slot < this.#smallCount ? this.#smallCapacity : this.#largestCapacity
  }

  commit(slot: number, length: number, header: NetHeaderFields | Uint8Array | undefined, headerAt: number): boolean {
    const states = this.#states
    if (states[slot] !== RESERVED) throw new RangeError(`slot ${slot} is not reserved`)
    const capacity = slot < this.#smallCount ? this.#smallCapacity : this.#largestCapacity
    if (length > capacity) throw new RangeError(`a frame of ${length} bytes in a slot of ${capacity}`)
    if (!this.#enabled) {
      // Stopped: the memory may be gone already.
      this.#release(slot)
      return false
    }
    const frame = this.#frames[slot]!
    const fault =
      header === undefined ? this.#clearHeader(frame, length) : this.#writeHeader(frame, length, header, headerAt)
    if (fault !== NetHeaderFault.NONE) return this.#drop(slot, fault)
    const address = (this.#address + frame) as DeviceAddress
    const headerLength = this.#headerLength
    const added = this.#splitHeader
      ? this.#queue.addChain(
          this.#chain
            .clear()
            .addReadable(address, headerLength)
            .addReadable((address + headerLength) as DeviceAddress, length),
          slot,
        )
      : this.#queue.addReadable(address, headerLength + length, slot)
    if (!added) return this.#drop(slot, fault)
    states[slot] = IN_FLIGHT
    this.#inFlight++
    this.#packets++
    this.#octets += length
    return true
  }

  cancel(slot: number): void {
    if (this.#states[slot] !== RESERVED) throw new RangeError(`slot ${slot} is not reserved`)
    this.#release(slot)
  }

  publish(): void {
    this.#count()
    this.#queue.publish()
  }

  /** Takes back what the device has used. The used length of these buffers means nothing. */
  reclaim(): number {
    const batch = this.#batch
    const { cookies } = batch
    const states = this.#states
    const freeSmall = this.#freeSmall
    const smallCount = this.#smallCount
    let total = 0
    let count: number
    do {
      count = this.#queue.popUsed(batch)
      let free = this.#freeSmallCount
      for (let i = 0; i < count; i++) {
        const slot = cookies[i]!
        states[slot] = FREE
        if (slot < smallCount) freeSmall[free++] = slot
        else this.#freeLarge[this.#freeLargeCount++] = slot
      }
      this.#freeSmallCount = free
      this.#outstanding -= count
      this.#inFlight -= count
      total += count
    } while (count === BATCH)
    this.#counters[COMPLETED]! += total
    return total
  }

  /** The owner has been told of space: notifications are not wanted any more. */
  spaceTold(): void {
    this.#wanted = 0
    this.#queue.disableUsedNotifications()
  }

  /** Whether `reserve()` and `commit()` take frames: not while the pair is out of use. Frames committed before still go out. */
  setEnabled(enabled: boolean): void {
    this.#enabled = enabled && !this.#stopped
    this.#straight = this.#enabled ? this.#smallCapacity : -1
    if (!enabled) this.#wanted = 0
  }

  stop(): void {
    this.#stopped = true
    this.#enabled = false
    this.#straight = -1
    this.#wanted = 0
  }

  addStats(stats: Record<string, number>): void {
    this.#count()
    stats.tx_packets = this.#counters[PACKETS]!
    stats.tx_bytes = this.#counters[BYTES]!
    stats.tx_full = this.#counters[FULL]!
    stats.tx_completed = this.#counters[COMPLETED]!
    stats.tx_in_flight = this.#inFlight
    let dropped = 0
    for (let fault = 1; fault < this.#dropped.length; fault++) {
      dropped += this.#dropped[fault]!
      // Faults that only a received packet can have are left out.
      if (
        fault >= NetHeaderFault.FRAME_SHORT &&
        fault !== NetHeaderFault.FRAGMENT_EMPTY &&
        fault !== NetHeaderFault.CHECKSUM_RSC
      ) {
        stats[`tx_dropped_${netHeaderFaultNames[fault]!.replaceAll('-', '_')}`] = this.#dropped[fault]!
      }
    }
    stats.tx_dropped = dropped
  }

  /**
   * VIRTIO 1.3 § 5.1.6.2.1 "Driver Requirements: Packet Transmission": num_buffers MUST be zero, and so is all else of an ordinary frame.
   * The room for the longer header is there also where the device has the shorter one.
   */
  #clearHeader(frame: number, length: number): NetHeaderFaultCode {
    const count = this.#headerWords
    if (count > 0) {
      const words = this.#words
      const end = frame >> 2
      words[end - 1] = 0
      words[end - 2] = 0
      words[end - 3] = 0
      for (let word = end - count; word < end - 3; word++) words[word] = 0
    } else this.#bytes.fill(0, frame - this.#clearLength, frame)
    if (length >= ETHERNET_HEADER && length <= this.#maxFrame) return NetHeaderFault.NONE
    return validateFrameLength(this.#bytes, frame, length, length, this.#maxFrame)
  }

  #writeHeader(
    frame: number,
    length: number,
    header: NetHeaderFields | Uint8Array,
    headerAt: number,
  ): NetHeaderFaultCode {
    const bytes = this.#bytes
    const { headerLength, policy } = this.#options
    const fields = this.#fields
    if (header instanceof NetHeaderFields) fields.copyFrom(header)
    else fields.read(header, headerAt)
    const fault = validateTransmitHeader(fields, bytes, frame, length, policy)
    const at = frame - headerLength
    fields.write(bytes, at)
    // VIRTIO 1.3 § 5.1.6.2.1 "Driver Requirements: Packet Transmission": num_buffers MUST be zero, whatever the owner's header says.
    for (let rest = at + NetHeader.NUM_BUFFERS; rest < frame; rest++) bytes[rest] = 0
    return fault
  }

  #count(): void {
    this.#counters[PACKETS]! += this.#packets
    this.#counters[BYTES]! += this.#octets
    this.#packets = this.#octets = 0
  }

  #drop(slot: number, fault: NetHeaderFaultCode): false {
    if (fault !== NetHeaderFault.NONE) this.#dropped[fault]!++
    this.#release(slot)
    return false
  }

  /** Everything but a small slot that is there: a large one, room to be made, none at all. */
  #reserveElse(length: number): number {
    if (length > this.#largestCapacity) {
      throw new RangeError(`a frame of ${length} bytes: the longest this device can send has ${this.#largestCapacity}`)
    }
    if (!this.#enabled) return -1
    if (!this.#hasSlot(length) && !this.#makeRoom(length)) {
      const first = this.#wanted === 0
      // A frame of no length waits for a slot all the same.
      this.#wanted = length || 1
      this.#counters[FULL]!++
      if (first) this.#options.onFull?.()
      return -1
    }
    const slot =
      length <= this.#smallCapacity
        ? this.#freeSmall[--this.#freeSmallCount]!
        : this.#freeLarge[--this.#freeLargeCount]!
    this.#states[slot] = RESERVED
    this.#outstanding++
    return slot
  }

  #hasSlot(length: number): boolean {
    if (this.#outstanding >= this.#chains) return false
    return (length <= this.#smallCapacity ? this.#freeSmallCount : this.#freeLargeCount) > 0
  }

  /** Takes back used buffers, and where that is not enough asks to be told of more. */
  #makeRoom(length: number): boolean {
    this.reclaim()
    if (this.#hasSlot(length)) return true
    // Buffers used before the device could see the request must not be waited for.
    while (this.#options.notified && this.#queue.enableUsedNotifications() && this.reclaim() > 0) {
      if (!this.#hasSlot(length)) continue
      this.#queue.disableUsedNotifications()
      return true
    }
    return false
  }

  #release(slot: number): void {
    this.#outstanding--
    this.#giveBack(slot)
  }

  #giveBack(slot: number): void {
    this.#states[slot] = FREE
    if (slot < this.#smallCount) this.#freeSmall[this.#freeSmallCount++] = slot
    else this.#freeLarge[this.#freeLargeCount++] = slot
  }
}
