import { hasFeature, NetFeature, NetHeader, ReservedFeature } from '@virtio-ts/spec'

/** struct virtio_net_hdr in front of every packet. Offsets in bytes from the start of the frame. */
export interface NetPacketHeader {
  readonly flags: number
  readonly gsoType: number
  readonly hdrLen: number
  readonly gsoSize: number
  readonly csumStart: number
  readonly csumOffset: number
  readonly numBuffers: number
  /** Only with HASH_REPORT. */
  readonly hashValue?: number
  readonly hashReport?: number
}

export const PLAIN_HEADER: NetPacketHeader = {
  flags: 0,
  gsoType: 0,
  hdrLen: 0,
  gsoSize: 0,
  csumStart: 0,
  csumOffset: 0,
  numBuffers: 0,
}

/**
 * 12 bytes; 20 with HASH_REPORT; 10 for a driver that accepted neither VERSION_1 nor MRG_RXBUF.
 * VIRTIO 1.3 § 5.1.6.1 "Legacy Interface: Device Operation"
 */
export function netHeaderLength(features: bigint): number {
  if (hasFeature(features, NetFeature.HASH_REPORT)) return NetHeader.LENGTH_HASH_REPORT
  const long = hasFeature(features, ReservedFeature.VERSION_1) || hasFeature(features, NetFeature.MRG_RXBUF)
  return long ? NetHeader.LENGTH : NetHeader.LENGTH_LEGACY
}

/** @param bytes 10, 12 or 20 of them; fields beyond are 0 */
export function parseNetHeader(bytes: Uint8Array): NetPacketHeader {
  const word = (offset: number): number => (bytes[offset] ?? 0) | ((bytes[offset + 1] ?? 0) << 8)
  return {
    flags: bytes[NetHeader.FLAGS] ?? 0,
    gsoType: bytes[NetHeader.GSO_TYPE] ?? 0,
    hdrLen: word(NetHeader.HDR_LEN),
    gsoSize: word(NetHeader.GSO_SIZE),
    csumStart: word(NetHeader.CSUM_START),
    csumOffset: word(NetHeader.CSUM_OFFSET),
    numBuffers: word(NetHeader.NUM_BUFFERS),
    ...(bytes.length >= NetHeader.LENGTH_HASH_REPORT && {
      hashValue: (word(NetHeader.HASH_VALUE) | (word(NetHeader.HASH_VALUE + 2) << 16)) >>> 0,
      hashReport: word(NetHeader.HASH_REPORT),
    }),
  }
}

export function encodeNetHeader(header: NetPacketHeader, length: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(NetHeader.LENGTH_HASH_REPORT))
  view.setUint8(NetHeader.FLAGS, header.flags)
  view.setUint8(NetHeader.GSO_TYPE, header.gsoType)
  view.setUint16(NetHeader.HDR_LEN, header.hdrLen, true)
  view.setUint16(NetHeader.GSO_SIZE, header.gsoSize, true)
  view.setUint16(NetHeader.CSUM_START, header.csumStart, true)
  view.setUint16(NetHeader.CSUM_OFFSET, header.csumOffset, true)
  view.setUint16(NetHeader.NUM_BUFFERS, header.numBuffers, true)
  view.setUint32(NetHeader.HASH_VALUE, header.hashValue ?? 0, true)
  view.setUint16(NetHeader.HASH_REPORT, header.hashReport ?? 0, true)
  return new Uint8Array(view.buffer, 0, length)
}
