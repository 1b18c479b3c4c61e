import { NetHeader } from '@virtio-ts/spec'
import type { NetHeaderLength } from './net-header.ts'
import type { NetHeaderFaultCode } from './net-header-fault.ts'
import { HEAD_LENGTH } from './net-limits.ts'
import type { ReceivedPacket } from './received-packet.ts'
import { type NetHeaderPolicy, validateFrameLength, validateNetHeader } from './validate-net-header.ts'

export interface HeaderReaderOptions {
  /** Filled anew for each packet. */
  readonly packet: ReceivedPacket
  /** Where buffers are. */
  readonly bytes: Uint8Array
  readonly headerLength: NetHeaderLength
  readonly policy: NetHeaderPolicy
}

/**
 * Takes headers of received packets over from memory the device can write to: copied, then checked, then used.
 * @see VIRTIO 1.3 § 5.1.6.4.2 "Driver Requirements: Processing of Incoming Packets"
 */
export class HeaderReader {
  readonly #options: HeaderReaderOptions
  readonly #hashed: boolean
  /** The packet's header is not all zero. */
  #isSet = false
  #badHashes = 0
  /** Whether an ordinary packet, whose header says nothing, needs `readOrdinary()`. */
  pending: boolean

  constructor(options: HeaderReaderOptions) {
    this.#options = options
    this.#hashed = options.headerLength === NetHeader.LENGTH_HASH_REPORT
    this.pending = this.#hashed
  }

  /** Hashes that said to be over something nobody knows. */
  get badHashes(): number {
    return this.#badHashes
  }

  /** Removes what the packet has of the last header, and reads its hash. @param at offset of the header */
  readOrdinary(at: number): void {
    if (this.#isSet) this.#clear()
    if (this.#hashed) this.#readHash(at)
  }

  /** @returns 0, or why the packet, whose segments are known, has to be dropped */
  validate(): NetHeaderFaultCode {
    const { packet, bytes, headerLength, policy } = this.#options
    const { fields, head } = packet
    const first = packet.segmentOffsets[0]!
    const header = first - headerLength
    if ((bytes[header + NetHeader.FLAGS]! | bytes[header + NetHeader.GSO_TYPE]!) === 0) {
      // The usual case, complete and checksummed: the other fields mean nothing.
      this.readOrdinary(header)
      return validateFrameLength(bytes, first, packet.segmentLengths[0]!, packet.length, policy.maxFrame)
    }
    // Into private memory, each byte read once; only that copy counts from here on, whatever was there a moment ago.
    fields.read(bytes, header)
    if (this.#hashed) this.#readHash(header)
    const segmented = (fields.gsoType & ~NetHeader.GSO_ECN) !== NetHeader.GSO_NONE
    packet.headLength = segmented ? this.#copyHead() : 0
    // Of a packet that is not to be segmented nothing but its length and VLAN tags are looked at.
    const fault = segmented
      ? validateNetHeader(fields, head, NetHeader.LENGTH, packet.headLength, packet.length, policy)
      : validateNetHeader(fields, bytes, first, packet.segmentLengths[0]!, packet.length, policy)
    fields.write(head, 0)
    this.#isSet = this.pending = true
    return fault
  }

  /** A hash nobody knows is none, and costs no packet. */
  #readHash(header: number): void {
    const { packet, bytes } = this.#options
    if (!packet.fields.readHash(bytes, header)) this.#badHashes++
  }

  #clear(): void {
    const { packet } = this.#options
    packet.fields.clear()
    packet.fields.write(packet.head, 0)
    packet.headLength = 0
    this.#isSet = false
    this.pending = this.#hashed
  }

  /** Takes a private copy of the frame's first bytes, by bytes: a view of them would be an object per packet. */
  #copyHead(): number {
    const { packet, bytes } = this.#options
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
}
