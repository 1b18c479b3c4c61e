import { onesComplementSum } from './internet-checksum.ts'

export const EtherType = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd } as const
export const IpProtocol = { ICMP: 1, TCP: 6, UDP: 17 } as const
const IPV6_HEADER_LENGTH = 40

/** Where the headers of an Ethernet frame lie: offsets in bytes. */
export interface PacketLayout {
  /** Type of what follows Ethernet and VLAN headers. */
  readonly etherType: number
  /** The VLAN, for a tagged frame. */
  readonly vlan: number | undefined
  readonly network: number
  /** 4 or 6, for IP with a sound header. */
  readonly ip: 4 | 6 | undefined
  /** Payload protocol of IP, where its header begins, and where the datagram ends. */
  readonly protocol: number
  readonly transport: number
  readonly end: number
  /** Part of a fragmented datagram: `transport` is then not the beginning of a header, but for the first. */
  readonly fragment: boolean
}

export function read16(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset] ?? 0) << 8) | (bytes[offset + 1] ?? 0)
}

export function write16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = (value >>> 8) & 0xff
  bytes[offset + 1] = value & 0xff
}

/** Finds the headers of a frame. IPv6 extension headers are not followed. */
export function packetLayout(frame: Uint8Array): PacketLayout {
  let network = 14
  let etherType = read16(frame, 12)
  let vlan: number | undefined
  if (etherType === EtherType.VLAN && frame.length >= 18) {
    vlan = read16(frame, 14) & 0xfff
    etherType = read16(frame, 16)
    network = 18
  }
  const none = {
    etherType,
    vlan,
    network,
    ip: undefined,
    protocol: 0,
    transport: network,
    end: frame.length,
    fragment: false,
  }
  if (etherType === EtherType.IPV4) {
    const headerLength = ((frame[network] ?? 0) & 0xf) * 4
    const end = network + read16(frame, network + 2)
    if (headerLength < 20 || network + headerLength > end || end > frame.length) return none
    const fragment = (read16(frame, network + 6) & 0x3fff) !== 0
    return { ...none, ip: 4, protocol: frame[network + 9] ?? 0, transport: network + headerLength, end, fragment }
  }
  if (etherType === EtherType.IPV6) {
    const end = network + IPV6_HEADER_LENGTH + read16(frame, network + 4)
    if (end > frame.length) return none
    return { ...none, ip: 6, protocol: frame[network + 6] ?? 0, transport: network + IPV6_HEADER_LENGTH, end }
  }
  return none
}

/** Sum over the pseudo header of TCP or UDP, for `length` bytes of transport header and payload. */
export function pseudoHeaderSum(frame: Uint8Array, { ip, network, protocol }: PacketLayout, length: number): number {
  const addresses = ip === 4 ? [network + 12, network + 20] : [network + 8, network + 40]
  const sum = onesComplementSum(frame, addresses[0], addresses[1], protocol)
  return onesComplementSum(Uint8Array.of(0, 0), 0, 2, sum + length)
}

/** Fills in the header checksum of IPv4. */
export function finishIpv4Header(frame: Uint8Array, network: number, transport: number): void {
  write16(frame, network + 10, 0)
  write16(frame, network + 10, ~onesComplementSum(frame, network, transport) & 0xffff)
}
