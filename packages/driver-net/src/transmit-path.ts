import { type ReadableLane, type UsedBatch, usedBatch, type Virtqueue } from '@virtio-ts/core'
import type { DeviceAddress } from '@virtio-ts/memory'
import { NetHeader } from '@virtio-ts/spec'
import { ChainLane } from './chain-lane.ts'
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
const NOWHERE = -1

const PACKETS = 0
const BYTES = 1
const FULL = 2
const COMPLETED = 3

/**
 * Slots for frames on their way out: reserved, filled by their owner, committed, published in batches, and taken back when the
 * device has used them - late, as nobody waits for that until slots run out. Nothing is allocated per packet.
 *
 * Small slots are the places of the queue's lane, which knows what state each is in. A large one takes the place of a small one while it
 * is reserved or in flight.
 * @see VIRTIO 1.3 § 5.1.6.2 "Packet Transmission"
 */
export class TransmitPath {
  readonly #options: TransmitPathOptions
  readonly #queue: Virtqueue
  readonly #lane: ReadableLane
  readonly #bytes: Uint8Array = new Uint8Array(0)
  readonly #fields = new NetHeaderFields()
  readonly #batch: UsedBatch = usedBatch(BATCH)
  readonly #counters = new Float64Array(4)
  readonly #dropped: Float64Array = new Float64Array(netHeaderFaultNames.length)

  readonly #clearLength: number = 0
  readonly #smallCapacity: number = 0
  readonly #largestCapacity: number = 0
  readonly #smallCount: number = 0
  /** Numbers of large slots come after those of the small ones. */
  readonly #freeLarge: Int32Array = new Int32Array(0)
  #freeLargeCount = 0
  /** The place each large slot has taken, and the slot that has taken each place. */
  readonly #placeOf: Int32Array = new Int32Array(0)
  readonly #takenBy: Int32Array = new Int32Array(0)
  /** Since the last `publish()`, as integers. */
  #packets = 0
  #octets = 0
  /** The length for which there was no slot, 0 when nobody waits. */
  #wanted = 0
  #enabled = true
  #stopped = false

  // What the calls for each packet need, without going through the options. Numbers begin as numbers: a field that was undefined once is
  // checked at every access.
  /** Longest frame that gets a small slot straight away: -1 where the path is not enabled. */
  #straight = 0
  /** Longest frame without a header that is sent straight away: -1 also where headers are not three aligned words. */
  #ordinary = 0
  readonly #smallOffset: number = 0
  readonly #smallStride: number = 0
  readonly #words: Uint32Array = new Uint32Array(0)
  /** Words in front of a frame to clear: 0 where headers are not at multiples of four bytes. */
  readonly #headerWords: number = 0
  readonly #headerLength: number = 0
  /** Where the device sees the header of a frame at offset 0. */
  readonly #address: number = 0
  readonly #maxFrame: number = 0

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
    this.#smallOffset = headroom + small.offset
    this.#smallStride = small.stride
    const places = bytes.byteOffset | headroom | small.offset | small.stride | large.offset | large.stride
    const aligned = (places & 3) === 0
    this.#words = aligned ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) : new Uint32Array(0)
    this.#headerWords = aligned ? this.#clearLength >> 2 : 0
    this.#headerLength = headerLength
    this.#address = memory.deviceAddress - headerLength
    this.#maxFrame = policy.maxFrame
    const row = {
      address: (this.#address + this.#smallOffset) as DeviceAddress,
      stride: small.stride,
      length: headerLength + this.#smallCapacity,
      count: Math.min(small.count, options.chains),
    }
    this.#lane = options.splitHeader
      ? new ChainLane(options.queue, row, headerLength, false)
      : options.queue.openReadableLane(row)
    this.#placeOf = new Int32Array(large.count).fill(NOWHERE)
    this.#takenBy = new Int32Array(row.count).fill(NOWHERE)
    // The first one on top.
    this.#freeLarge = Int32Array.from({ length: large.count }, (_, i) => small.count + large.count - 1 - i)
    this.#freeLargeCount = large.count
    this.#setStraight()
  }

  /** Longest frame a slot takes. */
  get largestCapacity(): number {
    return this.#largestCapacity
  }

  get inFlight(): number {
    return this.#lane.inFlight
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
    if (length > this.#straight) return this.#reserveElse(length)
    const slot = this.#lane.reserve()
    return slot < 0 ? this.#reserveElse(length) : slot
  }

  frameOffset(slot: number): number {
    return slot < this.#smallCount ? this.#smallOffset + slot * this.#smallStride : this.#largeOffset(slot)
  }

  capacity(slot: number): number {
    return slot < this.#smallCount ? this.#smallCapacity : this.#largestCapacity
  }

  commit(slot: number, length: number, header: NetHeaderFields | Uint8Array | undefined, headerAt: number): boolean {
    // The usual case: no header, and a frame of which nothing has to be looked at.
    if (header !== undefined || length < ETHERNET_HEADER || length > this.#ordinary || slot >= this.#smallCount)
      return this.#commitElse(slot, length, header, headerAt)
    if (!this.#lane.add(slot, this.#headerLength + length)) return this.#drop(slot, NetHeaderFault.NONE)
    // The device gets it no sooner than at `publish()`.
    const words = this.#words
    const end = (this.#smallOffset + slot * this.#smallStride) >> 2
    words[end - 1] = 0
    words[end - 2] = 0
    words[end - 3] = 0
    this.#packets++
    this.#octets += length
    return true
  }

  cancel(slot: number): void {
    this.#lane.cancel(this.#placeFor(slot))
    if (slot >= this.#smallCount) this.#giveBack(slot)
  }

  publish(): void {
    this.#count()
    this.#lane.publish()
  }

  /** Takes back what the device has used. The used length of these buffers means nothing. */
  reclaim(): number {
    const total = this.#freeLargeCount === this.#freeLarge.length ? this.#lane.reclaim() : this.#reclaimLarge()
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
    this.#setStraight()
    if (!enabled) this.#wanted = 0
  }

  stop(): void {
    this.#stopped = true
    this.#enabled = false
    this.#setStraight()
    this.#wanted = 0
  }

  addStats(stats: Record<string, number>): void {
    this.#count()
    stats.tx_packets = this.#counters[PACKETS]!
    stats.tx_bytes = this.#counters[BYTES]!
    stats.tx_full = this.#counters[FULL]!
    stats.tx_completed = this.#counters[COMPLETED]!
    stats.tx_in_flight = this.inFlight
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

  /** Any frame: with a header, in a large slot, short, too long, or while the path is not enabled. */
  #commitElse(
    slot: number,
    length: number,
    header: NetHeaderFields | Uint8Array | undefined,
    headerAt: number,
  ): boolean {
    const place = this.#placeFor(slot)
    if (!this.#lane.isReserved(place)) throw new RangeError(`slot ${slot} is not reserved`)
    const capacity = this.capacity(slot)
    if (length > capacity) throw new RangeError(`a frame of ${length} bytes in a slot of ${capacity}`)
    // Stopped: the memory may be gone already.
    if (!this.#enabled) return this.#drop(slot, NetHeaderFault.NONE)
    const frame = this.frameOffset(slot)
    const fault =
      header === undefined ? this.#clearHeader(frame, length) : this.#writeHeader(frame, length, header, headerAt)
    if (fault !== NetHeaderFault.NONE) return this.#drop(slot, fault)
    const bytes = this.#headerLength + length
    const added =
      place === slot
        ? this.#lane.add(place, bytes)
        : this.#lane.addElsewhere(place, (this.#address + frame) as DeviceAddress, bytes)
    if (!added) return this.#drop(slot, fault)
    this.#packets++
    this.#octets += length
    return true
  }

  #largeOffset(slot: number): number {
    const { large, headroom } = this.#options
    return headroom + large.offset + (slot - this.#smallCount) * large.stride
  }

  /** The place a slot has: -1 for a large one that has none, and for what is no slot. */
  #placeFor(slot: number): number {
    return slot < this.#smallCount ? slot : (this.#placeOf[slot - this.#smallCount] ?? NOWHERE)
  }

  /** Takes back used frames, some of which may be large. */
  #reclaimLarge(): number {
    const batch = this.#batch
    let total = 0
    let count: number
    do {
      count = this.#lane.pop(batch)
      for (let i = 0; i < count; i++) {
        const slot = this.#takenBy[batch.cookies[i]!]!
        if (slot !== NOWHERE) this.#giveBack(slot)
      }
      total += count
    } while (count > 0)
    return total
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
    this.cancel(slot)
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
    const place = this.#lane.reserve()
    if (length <= this.#smallCapacity) return place
    const slot = this.#freeLarge[--this.#freeLargeCount]!
    this.#placeOf[slot - this.#smallCount] = place
    this.#takenBy[place] = slot
    return slot
  }

  #hasSlot(length: number): boolean {
    return this.#lane.free > 0 && (length <= this.#smallCapacity || this.#freeLargeCount > 0)
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

  /** A large slot is free again, and so is the place it had. */
  #giveBack(slot: number): void {
    const at = slot - this.#smallCount
    this.#takenBy[this.#placeOf[at]!] = NOWHERE
    this.#placeOf[at] = NOWHERE
    this.#freeLarge[this.#freeLargeCount++] = slot
  }

  #setStraight(): void {
    this.#straight = this.#enabled ? this.#smallCapacity : -1
    this.#ordinary = this.#headerWords === 3 ? Math.min(this.#straight, this.#maxFrame) : -1
  }
}
