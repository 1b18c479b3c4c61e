/** Frames for tests, with headers as they are on the wire and payload that counts up. */

export const TCP = 6
export const UDP = 17

export interface FrameShape {
  /** 4 or 6; 0 for an ARP packet. */
  readonly ip: 4 | 6 | 0
  readonly protocol?: number
  /** Bytes behind the transport header. */
  readonly payload?: number
  readonly vlanTags?: 0 | 1 | 2
  /** Bytes of IPv4 options, or of one IPv6 hop-by-hop header, in steps of 8. */
  readonly options?: number
  /** Bytes of TCP options. */
  readonly tcpOptions?: number
  readonly fragment?: boolean
}

export const ETHERNET = 14

export function buildFrame(shape: FrameShape): Uint8Array {
  const { ip, protocol = TCP, payload = 100, vlanTags = 0, options = 0, tcpOptions = 0, fragment = false } = shape
  const bytes: number[] = [0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 2]
  for (let tag = 0; tag < vlanTags; tag++)
    bytes.push(tag === 0 && vlanTags === 2 ? 0x88 : 0x81, tag === 0 && vlanTags === 2 ? 0xa8 : 0, 0, 7)
  const transport = protocol === TCP ? 20 + tcpOptions : protocol === UDP ? 8 : 0
  const length = transport + payload
  if (ip === 0) bytes.push(0x08, 0x06, ...new Array(28).fill(0))
  if (ip === 4) {
    const header = 20 + options
    bytes.push(
      0x08,
      0,
      0x40 | (header / 4),
      0,
      ...big16(header + length),
      0,
      1,
      fragment ? 0x20 : 0x40,
      0,
      64,
      protocol,
      0,
      0,
    )
    bytes.push(10, 0, 0, 1, 10, 0, 0, 2, ...new Array(options).fill(1))
  }
  if (ip === 6) {
    bytes.push(0x86, 0xdd, 0x60, 0, 0, 0, ...big16(length + options), options > 0 ? 0 : fragment ? 44 : protocol, 64)
    bytes.push(...new Array(32).fill(1))
    if (options > 0) bytes.push(protocol, options / 8 - 1, ...new Array(options - 2).fill(0))
  }
  if (ip !== 0 && protocol === TCP)
    bytes.push(
      0,
      80,
      0,
      90,
      0,
      0,
      0,
      1,
      0,
      0,
      0,
      1,
      (5 + tcpOptions / 4) << 4,
      0x10,
      1,
      0,
      0,
      0,
      0,
      0,
      ...new Array(tcpOptions).fill(1),
    )
  if (ip !== 0 && protocol === UDP) bytes.push(0, 80, 0, 90, ...big16(length), 0, 0)
  const frame = new Uint8Array(bytes.length + (ip === 0 ? 0 : payload))
  frame.set(bytes)
  for (let i = bytes.length; i < frame.length; i++) frame[i] = i
  return frame
}

/** Where the transport header of such a frame begins. */
export function transportAt({ ip, vlanTags = 0, options = 0 }: FrameShape): number {
  return ETHERNET + 4 * vlanTags + (ip === 4 ? 20 : 40) + options
}

function big16(value: number): [number, number] {
  return [(value >> 8) & 0xff, value & 0xff]
}
