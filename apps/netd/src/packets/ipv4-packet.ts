import { EtherType, ethernetFrame, etherTypeOf } from './ethernet-frame.ts'
import { internetChecksum } from './internet-checksum.ts'

export const IpProtocol = { ICMP: 1, TCP: 6, UDP: 17 } as const

/** The two ends of a packet. MAC addresses are 6 bytes, IPv4 addresses 4. */
export interface Ends {
  readonly fromMac: Uint8Array
  readonly fromIp: Uint8Array
  readonly toMac: Uint8Array
  readonly toIp: Uint8Array
}

function ipv4Frame(ends: Ends, protocol: number, payload: Uint8Array): Uint8Array {
  const packet = new Uint8Array(20 + payload.length)
  const view = new DataView(packet.buffer)
  view.setUint8(0, 0x45)
  view.setUint16(2, packet.length)
  view.setUint8(8, 64)
  view.setUint8(9, protocol)
  packet.set(ends.fromIp, 12)
  packet.set(ends.toIp, 16)
  view.setUint16(10, internetChecksum(packet.subarray(0, 20)))
  packet.set(payload, 20)
  return ethernetFrame(ends.toMac, ends.fromMac, EtherType.IPV4, packet)
}

/** An ICMP echo request. @see RFC 792 */
export function icmpEchoRequest(ends: Ends, id: number, sequence: number, data: Uint8Array): Uint8Array {
  const message = new Uint8Array(8 + data.length)
  const view = new DataView(message.buffer)
  view.setUint8(0, 8)
  view.setUint16(4, id)
  view.setUint16(6, sequence)
  message.set(data, 8)
  view.setUint16(2, internetChecksum(message))
  return ipv4Frame(ends, IpProtocol.ICMP, message)
}

/**
 * A UDP datagram.
 * @param partialChecksum true to leave only the pseudo header's sum in the checksum field, for a device that
 * negotiated CSUM to complete
 */
export function udpFrame(
  ends: Ends,
  fromPort: number,
  toPort: number,
  data: Uint8Array,
  partialChecksum: boolean,
): Uint8Array {
  const datagram = new Uint8Array(8 + data.length)
  const view = new DataView(datagram.buffer)
  view.setUint16(0, fromPort)
  view.setUint16(2, toPort)
  view.setUint16(4, datagram.length)
  datagram.set(data, 8)
  const pseudo = new Uint8Array(12)
  pseudo.set(ends.fromIp, 0)
  pseudo.set(ends.toIp, 4)
  pseudo.set([0, IpProtocol.UDP, datagram.length >> 8, datagram.length & 0xff], 8)
  const pseudoSum = ~internetChecksum(pseudo) & 0xffff
  view.setUint16(6, partialChecksum ? pseudoSum : internetChecksum(datagram, pseudoSum) || 0xffff)
  return ipv4Frame(ends, IpProtocol.UDP, datagram)
}

export interface Ipv4Packet {
  readonly protocol: number
  readonly fromIp: Uint8Array
  readonly toIp: Uint8Array
  /** Everything behind the IPv4 header, by its own total length. */
  readonly payload: Uint8Array
  readonly headerIsIntact: boolean
}

/** The IPv4 packet in an Ethernet frame, or undefined when there is none or it is cut short. */
export function parseIpv4(frame: Uint8Array): Ipv4Packet | undefined {
  if (frame.length < 34 || etherTypeOf(frame) !== EtherType.IPV4) return undefined
  const packet = frame.subarray(14)
  const headerLength = ((packet[0] ?? 0) & 15) * 4
  const totalLength = ((packet[2] ?? 0) << 8) | (packet[3] ?? 0)
  if (headerLength < 20 || totalLength < headerLength || totalLength > packet.length) return undefined
  return {
    protocol: packet[9] ?? 0,
    fromIp: packet.slice(12, 16),
    toIp: packet.slice(16, 20),
    payload: packet.slice(headerLength, totalLength),
    headerIsIntact: internetChecksum(packet.subarray(0, headerLength)) === 0,
  }
}
