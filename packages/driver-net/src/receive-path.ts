import { ChainBuilder, type UsedBatch, usedBatch, type Virtqueue } from '@virtio-ts/core'
import type { DeviceAddress } from '@virtio-ts/memory'
import { NetHeader, VirtioError } from '@virtio-ts/spec'
import { type NetHeaderLength, read16 } from './net-header.ts'
import { NetHeaderFault, type NetHeaderFaultCode, netHeaderFaultNames } from './net-header-fault.ts'
import { HEAD_LENGTH } from './net-limits.ts'
import type { PacketMemory } from './packet-memory.ts'
import type { BufferRow } from './packet-layout.ts'
import { ReceivedPacket } from './received-packet.ts'
import { type NetHeaderPolicy, validateFrameLength, validateNetHeader } from './validate-net-header.ts'

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
/** Buffers go back to the ring when this many have come together, and at the end of each `receive()`. */
const REPOST = 32
/** How long the rest of a packet may be outstanding, in milliseconds. Devices hand all of it over at once. */
const REST_DEADLINE = 1000
const NOT_WAITING = -1

const PACKETS = 0
const BYTES = 1
const BUFFERS = 2
const MERGED = 3
const BAD_HASHES = 4

/**
 * Takes packets from the receive queue and gives their buffers back. Nothing is allocated per packet: cookies are
 * buffer numbers, and one packet object is filled again and again.
 * @see VIRTIO 1.3 § 5.1.6.4 "Processing of Incoming Packets"
 */
export class ReceivePath {
  readonly #options: ReceivePathOptions
  readonly #queue: Virtqueue
  readonly #bytes: Uint8Array
  readonly #packet: ReceivedPacket
  readonly #chain = new ChainBuilder(2)
  readonly #counters = new Float64Array(5)
  readonly #dropped: Float64Array = new Float64Array(netHeaderFaultNames.length)

  /** Used buffers taken from the ring and not looked at yet: from `#next` to `#count`. */
  readonly #batch: UsedBatch = usedBatch(BATCH)
  #next = 0
  #count = 0

  /** Buffers of the packet being put together. The device must not get them back before the packet is done with. */
  readonly #held: Int32Array
  #heldCount = 0
  /** Buffers still to come for it. */
  #missing = 0
  /** Why it will be dropped once they are all there. */
  #fault: NetHeaderFaultCode = NetHeaderFault.NONE
  /** When the rest was first waited for. */
  #waitingSince = NOT_WAITING

  readonly #returned: Int32Array
  #returnedCount = 0
  /** The packet's header is not all zero. */
  #headerIsSet = false
  #active = false
  #stopped = false

  constructor(options: ReceivePathOptions) {
    this.#options = options
    this.#queue = options.queue
    this.#bytes = options.memory.bytes
    const count = options.buffers.count
    this.#packet = new ReceivedPacket(this.#bytes, options.head, count)
    this.#held = new Int32Array(count)
    this.#returned = new Int32Array(count)
  }

  /** Gives the device every buffer there is. Once, after DRIVER_OK. */
  fill(): void {
    for (let buffer = 0; buffer < this.#options.buffers.count; buffer++) this.#returned[buffer] = buffer
    this.#returnedCount = this.#options.buffers.count
    this.#repost()
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
        const buffer = this.#batch.cookies[this.#next]!
        const written = this.#batch.written[this.#next++]!
        if (this.#missing === 0) this.#begin(buffer, written)
        else this.#continue(buffer, written)
        if (this.#missing > 0) continue
        packets++
        this.#finish(sink)
        if (this.#returnedCount >= REPOST) this.#repost()
      }
      this.checkRest()
    } finally {
      this.#repost()
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
    stats.rx_bad_hashes = this.#counters[BAD_HASHES]!
    let dropped = 0
    for (let fault = 1; fault < this.#dropped.length; fault++) {
      dropped += this.#dropped[fault]!
      stats[`rx_dropped_${netHeaderFaultNames[fault]!.replaceAll('-', '_')}`] = this.#dropped[fault]!
    }
    stats.rx_dropped = dropped
  }

  #popUsed(): boolean {
    this.#next = 0
    this.#count = this.#queue.popUsed(this.#batch)
    this.#counters[BUFFERS]! += this.#count
    return this.#count > 0
  }

  /** The first buffer of a packet: it begins with the header. */
  #begin(buffer: number, written: number): void {
    const { headerLength, mergeable, buffers } = this.#options
    const packet = this.#packet
    const at = buffers.offset + buffer * buffers.stride
    this.#held[0] = buffer
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
    this.#held[this.#heldCount++] = buffer
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
    if (this.#fault === NetHeaderFault.NONE) this.#fault = this.#validate(packet)
    // Before the sink runs: should it throw, the buffers are accounted for.
    for (let i = 0; i < this.#heldCount; i++) this.#returned[this.#returnedCount++] = this.#held[i]!
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

  #validate(packet: ReceivedPacket): NetHeaderFaultCode {
    const bytes = this.#bytes
    const { policy, headerLength } = this.#options
    const { fields, head } = packet
    const first = packet.segmentOffsets[0]!
    const header = first - headerLength
    packet.headLength = 0
    if ((bytes[header + NetHeader.FLAGS]! | bytes[header + NetHeader.GSO_TYPE]!) === 0) {
      // The usual case, complete and checksummed: the other fields mean nothing.
      if (this.#headerIsSet) this.#clearHeader(packet)
      if (headerLength === NetHeader.LENGTH_HASH_REPORT) this.#readHash(packet, header)
      return validateFrameLength(bytes, first, packet.segmentLengths[0]!, packet.length, policy.maxFrame)
    }
    // Into private memory, each byte read once; only that copy counts from here on, whatever was there a moment ago.
    fields.read(bytes, header)
    if (headerLength === NetHeader.LENGTH_HASH_REPORT) this.#readHash(packet, header)
    const segmented = (fields.gsoType & ~NetHeader.GSO_ECN) !== NetHeader.GSO_NONE
    if (segmented) packet.headLength = this.#copyHead(packet)
    // Of a packet that is not to be segmented nothing but its length and VLAN tags are looked at.
    const fault = segmented
      ? validateNetHeader(fields, head, NetHeader.LENGTH, packet.headLength, packet.length, policy)
      : validateNetHeader(fields, bytes, first, packet.segmentLengths[0]!, packet.length, policy)
    fields.write(head, 0)
    this.#headerIsSet = true
    return fault
  }

  /** A hash nobody knows is none, and costs no packet. */
  #readHash(packet: ReceivedPacket, header: number): void {
    if (!packet.fields.readHash(this.#bytes, header)) this.#counters[BAD_HASHES]!++
  }

  #clearHeader(packet: ReceivedPacket): void {
    packet.fields.clear()
    packet.fields.write(packet.head, 0)
    this.#headerIsSet = false
  }

  /** Takes a private copy of the frame's first bytes, by bytes: a view of them would be an object per packet. */
  #copyHead(packet: ReceivedPacket): number {
    const bytes = this.#bytes
    const { head, segmentOffsets, segmentLengths } = packet
    const length = Math.min(packet.length, HEAD_LENGTH)
    let copied = 0
    for (let segment = 0; copied < length; segment++) {
      const from = segmentOffsets[segment]!
      const piece = Math.min(segmentLengths[segment]!, length - copied)
      for (let i = 0; i < piece; i++) head[NetHeader.LENGTH + copied + i] = bytes[from + i]!
      copied += piece
    }
    return length
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

  #repost(): void {
    const { buffers, memory, splitHeader, headerLength } = this.#options
    const queue = this.#queue
    const count = this.#returnedCount
    if (count === 0) return
    this.#returnedCount = 0
    for (let i = 0; i < count; i++) {
      const buffer = this.#returned[i]!
      const address = (memory.deviceAddress + buffers.offset + buffer * buffers.stride) as DeviceAddress
      if (!splitHeader) queue.addWritable(address, buffers.length, buffer)
      else {
        const body = (address + headerLength) as DeviceAddress
        queue.addChain(
          this.#chain
            .clear()
            .addWritable(address, headerLength)
            .addWritable(body, buffers.length - headerLength),
          buffer,
        )
      }
    }
    queue.publish()
  }
}
