/**
 * Blocks of the pcapng format as bytes, in this machine's usual byte order (little-endian; readers tell by the byte-order magic).
 * @see draft-ietf-opsawg-pcapng, "PCAP Now Generic (pcapng) Capture File Format"
 */

export const PcapngBlock = {
  SECTION_HEADER: 0x0a0d0d0a,
  INTERFACE: 1,
  INTERFACE_STATISTICS: 5,
  ENHANCED_PACKET: 6,
} as const

const byteOrderMagic = 0x1a2b3c4d
const linkTypeEthernet = 1

/** Option codes; the same number means different things in different blocks. */
const Option = {
  COMMENT: 1,
  SHB_HARDWARE: 2,
  SHB_OS: 3,
  SHB_USER_APPLICATION: 4,
  IF_NAME: 2,
  IF_DESCRIPTION: 3,
  IF_MAC_ADDRESS: 6,
  IF_TIMESTAMP_RESOLUTION: 9,
  EPB_FLAGS: 2,
  EPB_DROP_COUNT: 4,
  EPB_QUEUE: 6,
  ISB_START_TIME: 2,
  ISB_END_TIME: 3,
  ISB_RECEIVED: 4,
  ISB_DROPPED: 5,
} as const

const text = new TextEncoder()

function padded(length: number): number {
  return (length + 3) & ~3
}

type OptionValue = readonly [code: number, value: Uint8Array]

function optionsLength(options: readonly OptionValue[]): number {
  if (options.length === 0) return 0
  return options.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4)
}

function u32(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4)
  const view = new DataView(bytes.buffer)
  for (const [index, value] of values.entries()) view.setUint32(index * 4, value, true)
  return bytes
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), true)
  return bytes
}

/** A time as the two halves the format wants, high one first. @param nanoseconds since 1970 */
function time(nanoseconds: bigint): readonly [high: number, low: number] {
  return [Number(nanoseconds >> 32n), Number(nanoseconds & 0xffff_ffffn)]
}

/** A whole block: type, length, body, options, length again. */
function block(
  type: number,
  body: Uint8Array,
  payload: readonly Uint8Array[],
  payloadLength: number,
  options: readonly OptionValue[],
): Uint8Array {
  const length = 12 + body.length + padded(payloadLength) + optionsLength(options)
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, type, true)
  view.setUint32(4, length, true)
  bytes.set(body, 8)
  let offset = 8 + body.length
  const payloadEnd = offset + payloadLength
  for (const segment of payload) {
    const room = payloadEnd - offset
    if (room <= 0) break
    bytes.set(segment.length > room ? segment.subarray(0, room) : segment, offset)
    offset += Math.min(segment.length, room)
  }
  offset = 8 + body.length + padded(payloadLength)
  for (const [code, value] of options) {
    view.setUint16(offset, code, true)
    view.setUint16(offset + 2, value.length, true)
    bytes.set(value, offset + 4)
    offset += 4 + padded(value.length)
  }
  // opt_endofopt is the four zero bytes that are there already.
  view.setUint32(length - 4, length, true)
  return bytes
}

/** The block a capture begins with. */
export function sectionHeader(about: {
  readonly hardware: string
  readonly os: string
  readonly application: string
}): Uint8Array {
  const body = new Uint8Array(16)
  const view = new DataView(body.buffer)
  view.setUint32(0, byteOrderMagic, true)
  view.setUint16(4, 1, true)
  // Section length -1: not known, as with every capture that is written while it happens.
  body.fill(0xff, 8)
  return block(PcapngBlock.SECTION_HEADER, body, [], 0, [
    [Option.SHB_HARDWARE, text.encode(about.hardware)],
    [Option.SHB_OS, text.encode(about.os)],
    [Option.SHB_USER_APPLICATION, text.encode(about.application)],
  ])
}

/** An Ethernet interface with nanosecond time stamps. */
export function interfaceDescription(about: {
  readonly name: string
  readonly description: string
  readonly snaplen: number
  readonly mac?: Uint8Array
}): Uint8Array {
  const body = new Uint8Array(8)
  const view = new DataView(body.buffer)
  view.setUint16(0, linkTypeEthernet, true)
  view.setUint32(4, about.snaplen, true)
  return block(PcapngBlock.INTERFACE, body, [], 0, [
    [Option.IF_NAME, text.encode(about.name)],
    [Option.IF_DESCRIPTION, text.encode(about.description)],
    ...(about.mac ? [[Option.IF_MAC_ADDRESS, about.mac] as const] : []),
    [Option.IF_TIMESTAMP_RESOLUTION, Uint8Array.of(9)],
  ])
}

export interface CapturedPacket {
  /** Nanoseconds since 1970. */
  readonly time: bigint
  readonly direction: 'rx' | 'tx'
  readonly queue: number
  readonly segments: readonly Uint8Array[]
  /** Bytes of the frame to keep at most. */
  readonly snaplen: number
  readonly comment: string
  /** Packets lost since the one before. */
  readonly dropped: number
}

/** One packet of interface 0. */
export function enhancedPacket(packet: CapturedPacket): Uint8Array {
  const length = packet.segments.reduce((sum, segment) => sum + segment.length, 0)
  const kept = Math.min(length, packet.snaplen)
  const options: OptionValue[] = []
  if (packet.comment !== '') options.push([Option.COMMENT, text.encode(packet.comment)])
  options.push([Option.EPB_FLAGS, u32(packet.direction === 'rx' ? 1 : 2)])
  if (packet.dropped > 0) options.push([Option.EPB_DROP_COUNT, u64(packet.dropped)])
  options.push([Option.EPB_QUEUE, u32(packet.queue)])
  return block(PcapngBlock.ENHANCED_PACKET, u32(0, ...time(packet.time), kept, length), packet.segments, kept, options)
}

/** What a capture ends with. */
export function interfaceStatistics(about: {
  readonly start: bigint
  readonly end: bigint
  readonly received: number
  readonly dropped: number
}): Uint8Array {
  return block(PcapngBlock.INTERFACE_STATISTICS, u32(0, ...time(about.end)), [], 0, [
    [Option.ISB_START_TIME, u32(...time(about.start))],
    [Option.ISB_END_TIME, u32(...time(about.end))],
    [Option.ISB_RECEIVED, u64(about.received)],
    [Option.ISB_DROPPED, u64(about.dropped)],
  ])
}
