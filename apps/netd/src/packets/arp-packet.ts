import { broadcastMac, EtherType, ethernetFrame, etherTypeOf } from './ethernet-frame.ts'

const REQUEST = 1
const REPLY = 2

export interface ArpPacket {
  readonly operation: 'request' | 'reply'
  readonly senderMac: Uint8Array
  readonly senderIp: Uint8Array
  readonly targetMac: Uint8Array
  readonly targetIp: Uint8Array
}

function arpFrame(to: Uint8Array, arp: ArpPacket): Uint8Array {
  const body = new Uint8Array(28)
  body.set([0, 1, 8, 0, 6, 4, 0, arp.operation === 'request' ? REQUEST : REPLY])
  body.set(arp.senderMac, 8)
  body.set(arp.senderIp, 14)
  body.set(arp.targetMac, 18)
  body.set(arp.targetIp, 24)
  return ethernetFrame(to, arp.senderMac, EtherType.ARP, body)
}

/** "Who has `targetIp`?", broadcast. @see RFC 826 */
export function arpRequest(senderMac: Uint8Array, senderIp: Uint8Array, targetIp: Uint8Array): Uint8Array {
  return arpFrame(broadcastMac, { operation: 'request', senderMac, senderIp, targetMac: new Uint8Array(6), targetIp })
}

/** "`ip` is at `mac`", broadcast, unasked: what makes switches and neighbours learn a new place. @see RFC 5227 § 3 */
export function gratuitousArp(mac: Uint8Array, ip: Uint8Array): Uint8Array {
  return arpFrame(broadcastMac, {
    operation: 'request',
    senderMac: mac,
    senderIp: ip,
    targetMac: new Uint8Array(6),
    targetIp: ip,
  })
}

/** The ARP packet in an Ethernet frame, or undefined when it is not one for IPv4 over Ethernet. */
export function parseArp(frame: Uint8Array): ArpPacket | undefined {
  if (frame.length < 42 || etherTypeOf(frame) !== EtherType.ARP) return undefined
  const operation = ((frame[20] ?? 0) << 8) | (frame[21] ?? 0)
  if (operation !== REQUEST && operation !== REPLY) return undefined
  return {
    operation: operation === REQUEST ? 'request' : 'reply',
    senderMac: frame.slice(22, 28),
    senderIp: frame.slice(28, 32),
    targetMac: frame.slice(32, 38),
    targetIp: frame.slice(38, 42),
  }
}
