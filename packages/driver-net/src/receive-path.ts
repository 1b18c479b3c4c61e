import { type UsedBatch, usedBatch, type Virtqueue, type WritableLane } from '@virtio-ts/core'
import type { DeviceAddress } from '@virtio-ts/memory'
import { NetHeader, VirtioError } from '@virtio-ts/spec'
import { ChainLane } from './chain-lane.ts'
import { HeaderReader } from './header-reader.ts'
import { type NetHeaderLength, read16 } from './net-header.ts'
import { NetHeaderFault, type NetHeaderFaultCode, netHeaderFaultNames } from './net-header-fault.ts'
import { ETHERNET_HEADER } from './net-limits.ts'
import type { PacketMemory } from './packet-memory.ts'
import type { BufferRow } from './packet-layout.ts'
import { ReceivedPacket } from './received-packet.ts'
import type { NetHeaderPolicy } from './validate-net-header.ts'

export interface ReceivePathOptions {
  readonly queue: Virtqueue
  readonly memory: PacketMemory
  readonly buffers: BufferRow
  readonly headerLength: NetHeaderLength
  /** Packets may span buffers. */
  readonly mergeable: boolean
  /** The header goes into a descriptor of its own. */
  readonly splitHeader: boolean
  readonly policy: NetHeaderPolicy
  /** num_buffers of 0 breaks the queue, rather than costing a packet. */
  readonly strict: boolean
  readonly head: Uint8Array
  readonly device: string
  readonly generation: number
}

const BATCH = 64
/** Where num_buffers is, in words of 32 bits: the upper half of this one. */
const NUM_BUFFERS_WORD = NetHeader.NUM_BUFFERS >> 2
/** Buffers go back to the ring when this many have come together, and at the end of each `receive()`. */
const REPOST = 32
/** How long the rest of a packet may be outstanding, in milliseconds. Devices hand all of it over at once. */
const REST_DEADLINE = 1000
const NOT_WAITING = -1

const PACKETS = 0
const BYTES = 1
const BUFFERS = 2
const MERGED = 3

/**
 * Takes packets from the receive queue and gives their buffers back. Nothing is allocated per packet: cookies are
 * buffer numbers, and one packet object is filled again and again.
 * @see VIRTIO 1.3 § 5.1.6.4 "Processing of Incoming Packets"
 */
export class ReceivePath {
  readonly #options: ReceivePathOptions
  readonly #queue: Virtqueue
  /** Buffers are its places. They go back in the order in which they came. */
  readonly #lane: WritableLane
  readonly #bytes: Uint8Array = new Uint8Array(0)
  readonly #packet: ReceivedPacket
  readonly #headers: HeaderReader
  readonly #counters = new Float64Array(4)
  readonly #dropped: Float64Array = new Float64Array(netHeaderFaultNames.length)

  /** Used buffers taken from the ring and not looked at yet: from `#next` to `#count`. */
  readonly #batch: UsedBatch = usedBatch(BATCH)
  #next = 0
  #count = 0

  /** Buffers of the packet being put together. The device must not get them back before the packet is done with. */
  #heldCount = 0
  /** Buffers still to come for it. */
  #missing = 0
  /** Why it will be dropped once they are all there. */
  #fault: NetHeaderFaultCode = NetHeaderFault.NONE
  /** When the rest was first waited for. */
  #waitingSince = NOT_WAITING

  /** Buffers done with that the device has not got back yet. */
  #returned = 0
  #active = false
  #stopped = false

  // What the loop over packets needs, without going through the options.
  readonly #words: Uint32Array = new Uint32Array(0)
  readonly #offset: number = 0
  readonly #stride: number = 0
  readonly #headerLength: number = 0
  /** Longest frame that goes straight through, without a look for VLAN tags; 0 where none does. */
  readonly #longest: number = 0
  readonly #mergeable: boolean = false

  constructor(options: ReceivePathOptions) {
    const { queue, memory, buffers, headerLength, mergeable, splitHeader, policy, head } = options
    const { bytes } = memory
    this.#options = options
    this.#queue = queue
    this.#bytes = bytes
    this.#packet = new ReceivedPacket(bytes, head, buffers.count)
    this.#headers = new HeaderReader({ packet: this.#packet, bytes, headerLength, policy })
    const aligned = ((bytes.byteOffset | buffers.offset | buffers.stride) & 3) === 0
    this.#words = aligned ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2) : new Uint32Array(0)
    this.#offset = buffers.offset
    this.#stride = buffers.stride
    this.#headerLength = headerLength
    this.#longest = aligned && !splitHeader ? policy.maxFrame : 0
    this.#mergeable = mergeable
    const { length, stride, count } = buffers
    const row = { address: (memory.deviceAddress + buffers.offset) as DeviceAddress, stride, length, count }
    this.#lane = splitHeader ? new ChainLane(queue, row, headerLength, true) : queue.openWritableLane(row)
  }

  /** Gives the device every buffer there is. Once, after DRIVER_OK. */
  fill(): void {
    this.#returned = this.#options.buffers.count
    this.#publish()
  }

  /** Nothing is received any more: the queue broke, or its memory is about to go. */
  stop(): void {
    this.#next = this.#count = 0
    this.#missing = 0
    this.#stopped = true
  }

  /** Whether `receive()` is running: a notification that comes meanwhile needs nobody's attention. */
  get active(): boolean {
    return this.#active
  }

  receive(sink: (packet: ReceivedPacket) => void, budget: number): number {
    if (this.#stopped) return 0
    if (this.#active) throw new Error('receive() was called from its own sink')
    this.#active = true
    let packets = 0
    try {
      while (packets < budget) {
        if (this.#next === this.#count && !this.#popUsed()) break
        const most = budget - packets < REPOST ? budget - packets : REPOST
        const ordinary = this.#missing > 0 ? 0 : this.#receiveOrdinary(sink, most)
        packets += ordinary
        if (ordinary < most && this.#next < this.#count && this.#receiveAny(sink)) packets++
        if (this.#returned >= REPOST) this.#publish()
      }
      this.checkRest()
    } finally {
      this.#publish()
      this.#active = false
    }
    return packets
  }

  /** Whether `receive()` would find anything. */
  hasUsed(): boolean {
    return this.#next < this.#count || (!this.#stopped && this.#queue.hasUsed())
  }

  /** Asks for a notification at the next packet. @returns true if there is something to receive already */
  arm(): boolean {
    return this.#next < this.#count || (!this.#stopped && this.#queue.enableUsedNotifications())
  }

  /** Breaks the queue when the rest of a packet has been outstanding for too long: for a watchdog. */
  checkRest(): void {
    if (this.#missing > 0 && !this.hasUsed()) this.#checkRest()
  }

  addStats(stats: Record<string, number>): void {
    stats.rx_packets = this.#counters[PACKETS]!
    stats.rx_bytes = this.#counters[BYTES]!
    stats.rx_buffers = this.#counters[BUFFERS]!
    stats.rx_merged_packets = this.#counters[MERGED]!
    stats.rx_bad_hashes = this.#headers.badHashes
    let dropped = 0
    for (let fault = 1; fault < this.#dropped.length; fault++) {
      dropped += this.#dropped[fault]!
      stats[`rx_dropped_${netHeaderFaultNames[fault]!.replaceAll('-', '_')}`] = this.#dropped[fault]!
    }
    stats.rx_dropped = dropped
  }

  /**
   * Hands over packets up to one that is not the usual case, which one look at two words of the header finds: a packet in one buffer,
   * complete and checksummed, so that the other fields mean nothing. Flags and segmentation type are the lower half of the first. Any other
   * packet is looked at anew.
   * @returns how many
   */
  #receiveOrdinary(sink: (packet: ReceivedPacket) => void, most: number): number {
    const packet = this.#packet
    const headers = this.#headers
    const words = this.#words
    const { cookies, written } = this.#batch
    const offset = this.#offset
    const stride = this.#stride
    const headerLength = this.#headerLength
    const longest = this.#longest
    const mergeable = this.#mergeable === true
    const first = this.#next
    const end = this.#count - first < most ? this.#count : first + most
    let octets = 0
    let next = first
    try {
      // The sink may stop the path.
      while (next < end && this.#next === next) {
        const length = written[next]! - headerLength
        const at = offset + cookies[next]! * stride
        if (
          length < ETHERNET_HEADER ||
          length > longest ||
          (words[at >> 2]! & 0xffff) !== 0 ||
          (mergeable && words[(at >> 2) + NUM_BUFFERS_WORD]! >>> 16 !== 1)
        )
          break
        if (headers.pending === true) headers.readOrdinary(at)
        packet.segmentCount = 1
        packet.length = packet.segmentLengths[0] = length
        packet.segmentOffsets[0] = at + headerLength
        // Before the sink runs: should it throw, the buffer is accounted for. The device gets it no sooner than at `#publish()`.
        this.#next = ++next
        octets += length
        sink(packet)
      }
    } finally {
      this.#returned += next - first
      this.#counters[PACKETS]! += next - first
      this.#counters[BYTES]! += octets
    }
    return next - first
  }

  /** Any packet or piece of one. @returns whether that was a packet's end */
  #receiveAny(sink: (packet: ReceivedPacket) => void): boolean {
    const next = this.#next
    this.#next = next + 1
    if (this.#missing === 0) this.#begin(this.#batch.cookies[next]!, this.#batch.written[next]!)
    else this.#continue(this.#batch.cookies[next]!, this.#batch.written[next]!)
    if (this.#missing > 0) return false
    this.#finish(sink)
    return true
  }

  #popUsed(): boolean {
    this.#next = 0
    this.#count = this.#lane.pop(this.#batch)
    this.#counters[BUFFERS]! += this.#count
    return this.#count > 0
  }

  /** The first buffer of a packet: it begins with the header. */
  #begin(buffer: number, written: number): void {
    const { headerLength, mergeable, buffers } = this.#options
    const packet = this.#packet
    const at = buffers.offset + buffer * buffers.stride
    this.#heldCount = 1
    this.#fault = NetHeaderFault.NONE
    this.#waitingSince = NOT_WAITING
    if (written < headerLength) {
      // Without a header nobody knows of further buffers; devices that lie here are caught by what comes next.
      this.#fault = NetHeaderFault.HEADER_SHORT
      return
    }
    packet.segmentCount = 1
    packet.segmentOffsets[0] = at + headerLength
    packet.segmentLengths[0] = packet.length = written - headerLength
    if (mergeable) {
      // Read once, as the device may change it; without MRG_RXBUF it is always 1, and what some devices leave there is not looked at.
      const count = read16(this.#bytes, at + NetHeader.NUM_BUFFERS)
      if (count === 1) return
      if (count === 0 || count > buffers.count) this.#refuseCount(count)
      else {
        this.#missing = count - 1
        if (packet.length === 0) this.#fault = NetHeaderFault.FRAGMENT_EMPTY
      }
    }
  }

  /** One more buffer of a packet: nothing but payload. */
  #continue(buffer: number, written: number): void {
    const { buffers } = this.#options
    const packet = this.#packet
    this.#heldCount++
    this.#missing--
    this.#waitingSince = NOT_WAITING
    if (written === 0) this.#fault = NetHeaderFault.FRAGMENT_EMPTY
    const segment = packet.segmentCount++
    packet.segmentOffsets[segment] = buffers.offset + buffer * buffers.stride
    packet.segmentLengths[segment] = written
    packet.length += written
  }

  /** Hands the packet to the sink, or drops it; either way its buffers may go back afterwards. */
  #finish(sink: (packet: ReceivedPacket) => void): void {
    const packet = this.#packet
    if (this.#fault === NetHeaderFault.NONE) this.#fault = this.#headers.validate()
    // Before the sink runs: should it throw, the buffers are accounted for.
    this.#returned += this.#heldCount
    const merged = this.#heldCount > 1
    this.#heldCount = 0
    if (this.#fault !== NetHeaderFault.NONE) {
      this.#dropped[this.#fault]!++
      return
    }
    this.#counters[PACKETS]!++
    this.#counters[BYTES]! += packet.length
    if (merged) this.#counters[MERGED]!++
    sink(packet)
  }

  #refuseCount(count: number): void {
    this.#fault = NetHeaderFault.NUM_BUFFERS
    // One buffer that says it is none can be dropped. Where more are promised than exist, what follows cannot be told from
    // a header, and guessing is how drivers were made to read foreign memory.
    if (count === 0 && !this.#options.strict) return
    this.#break('net.num-buffers', `a packet that says it takes ${count} of ${this.#options.buffers.count} buffers`, {
      count,
    })
  }

  #checkRest(): void {
    if (this.#missing === 0) return
    const now = performance.now()
    if (this.#waitingSince === NOT_WAITING) this.#waitingSince = now
    else if (now - this.#waitingSince > REST_DEADLINE) {
      const missing = this.#missing
      this.#break(
        'net.fragments-missing',
        `a packet whose last ${missing} buffers did not come within ${REST_DEADLINE} ms`,
        { missing },
      )
    }
  }

  #break(code: string, what: string, detail: Readonly<Record<string, number>>): void {
    const { device, generation } = this.#options
    this.stop()
    this.#queue.fail(
      new VirtioError(
        code,
        `${device} handed over ${what}; its receive queue cannot be trusted any more: close the device and open it again`,
        {
          device,
          generation,
          queue: this.#queue.index,
          detail,
        },
      ),
    )
  }

  #publish(): void {
    const returned = this.#returned
    if (returned === 0) return
    this.#returned = 0
    this.#lane.renew(returned)
    this.#lane.publish()
  }
}
