import { NetHashReport, NetHeader } from '@virtio-ts/spec'

export type NetHeaderLength = 10 | 12 | 20

/**
 * Bytes of the header in front of every packet. Only the legacy interface without MRG_RXBUF leaves num_buffers out; HASH_REPORT adds
 * eight bytes.
 * @see VIRTIO 1.3 § 5.1.6.1 "Legacy Interface: Device Operation"
 */
export function netHeaderLength(legacy: boolean, mergeable: boolean, hashReport = false): NetHeaderLength {
  if (hashReport) return NetHeader.LENGTH_HASH_REPORT
  return legacy && !mergeable ? NetHeader.LENGTH_LEGACY : NetHeader.LENGTH
}

/**
 * The fields of struct virtio_net_hdr that mean something to whoever handles packets: one object, made once, filled again for every
 * packet. All zero says "a complete packet, fully checksummed".
 * @see VIRTIO 1.3 § 5.1.6 "Device Operation"
 */
export class NetHeaderFields {
  /** `NetHeader.F_*` */
  flags = 0
  /** `NetHeader.GSO_*` */
  gsoType = 0
  /** Bytes of all headers up to the payload, when the packet is to be segmented. */
  hdrLen = 0
  /** Payload bytes of each segment. */
  gsoSize = 0
  /** Where checksumming starts, in bytes from the start of the frame. */
  csumStart = 0
  /** Where the checksum goes, in bytes from `csumStart`. */
  csumOffset = 0
  /** What the device's hash of a received packet is over: `NetHashReport`; `NONE` without `hashReport`, and of packets it has none for. */
  hashReport = 0
  /** The hash: 32 bits, unsigned. */
  hashValue = 0

  clear(): void {
    this.flags = 0
    this.gsoType = 0
    this.hdrLen = 0
    this.gsoSize = 0
    this.csumStart = 0
    this.csumOffset = 0
    this.hashReport = 0
    this.hashValue = 0
  }

  /** Takes the first ten bytes of a header at `at`. */
  read(bytes: Uint8Array, at: number): void {
    this.flags = bytes[at + NetHeader.FLAGS]!
    this.gsoType = bytes[at + NetHeader.GSO_TYPE]!
    this.hdrLen = read16(bytes, at + NetHeader.HDR_LEN)
    this.gsoSize = read16(bytes, at + NetHeader.GSO_SIZE)
    this.csumStart = read16(bytes, at + NetHeader.CSUM_START)
    this.csumOffset = read16(bytes, at + NetHeader.CSUM_OFFSET)
  }

  /** Takes the hash of a header of 20 bytes. @returns false when it says to be over something nobody knows: then it is none */
  readHash(bytes: Uint8Array, at: number): boolean {
    const report = read16(bytes, at + NetHeader.HASH_REPORT)
    this.hashReport = report <= NetHashReport.UDPV6_EX ? report : NetHashReport.NONE
    this.hashValue = this.hashReport === NetHashReport.NONE ? 0 : read32(bytes, at + NetHeader.HASH_VALUE)
    return this.hashReport === report
  }

  /** Writes the first ten bytes of a header at `at`. */
  write(bytes: Uint8Array, at: number): void {
    bytes[at + NetHeader.FLAGS] = this.flags
    bytes[at + NetHeader.GSO_TYPE] = this.gsoType
    write16(bytes, at + NetHeader.HDR_LEN, this.hdrLen)
    write16(bytes, at + NetHeader.GSO_SIZE, this.gsoSize)
    write16(bytes, at + NetHeader.CSUM_START, this.csumStart)
    write16(bytes, at + NetHeader.CSUM_OFFSET, this.csumOffset)
  }

  copyFrom(other: NetHeaderFields): void {
    this.flags = other.flags
    this.gsoType = other.gsoType
    this.hdrLen = other.hdrLen
    this.gsoSize = other.gsoSize
    this.csumStart = other.csumStart
    this.csumOffset = other.csumOffset
    this.hashReport = other.hashReport
    this.hashValue = other.hashValue
  }
}

// By bytes, as headers may lie at any address and hosts may be big-endian; legacy devices of such hosts are not supported.

export function read16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8)
}

export function read32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0
}

export function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >> 8
}

export function write32(bytes: Uint8Array, at: number, value: number): void {
  write16(bytes, at, value)
  write16(bytes, at + 2, value >>> 16)
}
