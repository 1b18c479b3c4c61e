import { NetHeaderFields } from '@virtio-ts/driver-net'
import { NetHeader } from '@virtio-ts/spec'
import { arpRequest, parseArp } from '../packets/arp-packet.ts'
import { type Ends, IpProtocol, icmpEchoRequest, parseIpv4, udpFrame } from '../packets/ipv4-packet.ts'
import { internetChecksum } from '../packets/internet-checksum.ts'
import type { Question } from './round-trips.ts'

/** Behind 14 bytes of Ethernet and 20 of IPv4; the checksum is 6 bytes into a UDP header. */
const udpStart = 34
const udpChecksum = 6

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}

/** Bytes no two of which are alike from packet to packet. */
function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + seed * 13) & 0xff)
}

/** Who has the peer's address? */
export function arpQuestion({ fromMac, fromIp, toMac, toIp }: Ends): Question {
  return {
    frame: arpRequest(fromMac, fromIp, toIp),
    isAnswer: (frame) => {
      const arp = parseArp(frame)
      return arp?.operation === 'reply' && sameBytes(arp.senderIp, toIp) && sameBytes(arp.senderMac, toMac)
    },
  }
}

/** `count` pings from 0 bytes to what fits the MTU; the answer must have the same bytes and right checksums. */
export function pingQuestions(ends: Ends, count: number): Question[] {
  return Array.from({ length: count }, (_, sequence) => {
    const data = pattern(Math.floor((sequence * 1472) / Math.max(1, count - 1)), sequence)
    return {
      frame: icmpEchoRequest(ends, 0x7674, sequence, data),
      isAnswer: (frame) => {
        const packet = parseIpv4(frame)
        if (packet?.protocol !== IpProtocol.ICMP || !packet.headerIsIntact || internetChecksum(packet.payload) !== 0)
          return false
        const answered = ((packet.payload[6] ?? 0) << 8) | (packet.payload[7] ?? 0)
        return packet.payload[0] === 0 && answered === sequence && sameBytes(packet.payload.subarray(8), data)
      },
    }
  })
}

/** `count` UDP datagrams; with `offload` their checksum is left to the device. */
export function udpQuestions(ends: Ends, count: number, offload: boolean): Question[] {
  return Array.from({ length: count }, (_, i) => {
    const data = pattern(32 + i, i)
    const header = new NetHeaderFields()
    if (offload) {
      header.flags = NetHeader.F_NEEDS_CSUM
      header.csumStart = udpStart
      header.csumOffset = udpChecksum
    }
    return {
      frame: udpFrame(ends, 40000 + i, 7, data, offload),
      header,
      isAnswer: (frame) => {
        const packet = parseIpv4(frame)
        return packet?.protocol === IpProtocol.UDP && sameBytes(packet.payload.subarray(8), data)
      },
    }
  })
}
