import { NetHeader } from '@virtio-ts/spec'
import type { NetPacketHeader } from '../net/net-header.ts'
import type { Delivery } from '../net/receive-path.ts'
import { BROADCAST, formatMac, parseMac } from '../packet/mac-address.ts'
import { internetChecksum } from '../packet/internet-checksum.ts'
import {
  EtherType,
  finishIpv4Header,
  IpProtocol,
  type PacketLayout,
  packetLayout,
  pseudoHeaderSum,
  read16,
  write16,
} from '../packet/packet-layout.ts'
import { fragment, toWire } from '../packet/segmentation.ts'
import { Ipv4Reassembly } from './ipv4-reassembly.ts'

/** Whoever has frames of a driver and takes some for it: `NetModel` does. */
export interface FramePort {
  deliver(frame: Uint8Array, header?: Partial<NetPacketHeader>): Delivery
  onFrame(listener: (frame: Uint8Array, header: NetPacketHeader) => void): () => void
}

export interface NetPeerOptions {
  /** IPv4 address, dotted. @defaultValue '10.0.0.1' */
  readonly address?: string
  /** @defaultValue '52:54:00:00:00:01' */
  readonly mac?: string
  /** Longest IP packet it sends in one piece. @defaultValue 1500 */
  readonly mtu?: number
  /** Leaves the UDP checksum of its answers to the driver (NEEDS_CSUM), as a virtual machine next door would. @defaultValue false */
  readonly partialChecksums?: boolean
}

/** What a peer saw and did. */
export interface NetPeerCounters {
  /** Frames as they went over the wire: after segmentation. */
  frames: number
  arpReplies: number
  icmpEchoes: number
  udpEchoes: number
  /** Frames with a wrong IPv4, ICMP, TCP or UDP checksum: not answered. */
  badChecksums: number
  /** Packets of the driver whose header did not fit them. */
  badHeaders: number
}

const ICMP_ECHO_REQUEST = 8
const ICMP_ECHO_REPLY = 0
const UDP_CHECKSUM = 6

/** A host on the other end of the link: answers ARP, ICMP echo and (on every port) UDP echo for one IPv4 address. */
export class NetPeer {
  readonly mac: string
  readonly address: string
  readonly counters: NetPeerCounters = {
    frames: 0,
    arpReplies: 0,
    icmpEchoes: 0,
    udpEchoes: 0,
    badChecksums: 0,
    badHeaders: 0,
  }
  readonly #options: NetPeerOptions
  readonly #macBytes: Uint8Array
  readonly #ip: Uint8Array
  readonly #reassembly = new Ipv4Reassembly()
  readonly #listeners = new Set<(frame: Uint8Array) => void>()

  constructor(options: NetPeerOptions = {}) {
    this.#options = options
    this.mac = options.mac ?? '52:54:00:00:00:01'
    this.address = options.address ?? '10.0.0.1'
    this.#macBytes = parseMac(this.mac)
    this.#ip = parseIpv4(this.address)
  }

  /** Puts the peer on the link. @returns takes it off again */
  attach(port: FramePort): () => void {
    return port.onFrame((frame, header) => {
      const pieces = toWire(frame, header)
      if (!pieces) this.counters.badHeaders++
      for (const piece of pieces ?? []) this.#receive(piece, port)
    })
  }

  /** Calls `listener` with every frame as the wire would carry it: checksums filled in, large packets cut up. */
  onWireFrame(listener: (frame: Uint8Array) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #receive(frame: Uint8Array, port: FramePort): void {
    this.counters.frames++
    for (const listener of [...this.#listeners]) listener(frame)
    const destination = formatMac(frame)
    if (destination !== this.mac && destination !== BROADCAST) return
    const layout = packetLayout(frame)
    if (layout.etherType === EtherType.ARP) this.#answerArp(frame, layout, port)
    else if (layout.ip !== undefined && !this.#sound(frame, layout)) this.counters.badChecksums++
    else if (layout.ip === 4 && this.#isMine(frame, layout.network + 16)) {
      const whole = layout.fragment ? this.#reassembly.add(frame) : frame
      if (whole) this.#answerIpv4(whole, port)
    }
  }

  #isMine(frame: Uint8Array, offset: number): boolean {
    return this.#ip.every((byte, n) => frame[offset + n] === byte)
  }

  /** Whether the checksums of headers and payload are right, as far as they are there. */
  #sound(frame: Uint8Array, layout: PacketLayout): boolean {
    const { ip, network, transport, end, protocol } = layout
    if (ip === 4 && internetChecksum(frame, network, transport) !== 0) return false
    return layout.fragment || soundTransport(frame, transport, end, protocol, layout)
  }

  #answerArp(frame: Uint8Array, { network }: PacketLayout, port: FramePort): void {
    if (frame.length < network + 28 || read16(frame, network + 6) !== 1 || !this.#isMine(frame, network + 24)) return
    const reply = frame.slice(0, network + 28)
    reply.set(frame.subarray(network + 8, network + 14))
    reply.set(this.#macBytes, 6)
    write16(reply, network + 6, 2)
    reply.set(this.#macBytes, network + 8)
    reply.set(this.#ip, network + 14)
    reply.set(frame.subarray(network + 8, network + 18), network + 18)
    this.counters.arpReplies++
    port.deliver(reply)
  }

  #answerIpv4(frame: Uint8Array, port: FramePort): void {
    const layout = packetLayout(frame)
    const { network, transport, end, protocol } = layout
    if (!soundTransport(frame, transport, end, protocol, layout)) {
      this.counters.badChecksums++
      return
    }
    const reply = frame.slice(0, end)
    reply.set(frame.subarray(6, 12))
    reply.set(this.#macBytes, 6)
    reply.set(frame.subarray(network + 12, network + 16), network + 16)
    reply.set(this.#ip, network + 12)
    reply[network + 8] = 64
    finishIpv4Header(reply, network, transport)
    if (protocol === IpProtocol.ICMP && frame[transport] === ICMP_ECHO_REQUEST) {
      reply[transport] = ICMP_ECHO_REPLY
      write16(reply, transport + 2, 0)
      write16(reply, transport + 2, internetChecksum(reply, transport, end))
      this.counters.icmpEchoes++
      this.#send(reply, layout, {}, port)
    } else if (protocol === IpProtocol.UDP && transport + 8 <= end) {
      write16(reply, transport, read16(frame, transport + 2))
      write16(reply, transport + 2, read16(frame, transport))
      this.counters.udpEchoes++
      this.#send(reply, layout, this.#finishUdp(reply, layout), port)
    }
  }

  #finishUdp(reply: Uint8Array, layout: PacketLayout): Partial<NetPacketHeader> {
    const { transport, network, end } = layout
    const field = transport + UDP_CHECKSUM
    const sum = pseudoHeaderSum(reply, layout, end - transport)
    if (this.#options.partialChecksums && end - network <= (this.#options.mtu ?? 1500)) {
      write16(reply, field, sum)
      return { flags: NetHeader.F_NEEDS_CSUM, csumStart: transport, csumOffset: UDP_CHECKSUM }
    }
    write16(reply, field, 0)
    write16(reply, field, internetChecksum(reply, transport, end, sum) || 0xffff)
    return {}
  }

  #send(
    reply: Uint8Array,
    { network, transport, end }: PacketLayout,
    header: Partial<NetPacketHeader>,
    port: FramePort,
  ): void {
    const mtu = this.#options.mtu ?? 1500
    const pieces = end - network > mtu ? fragment(reply, mtu - (transport - network)) : [reply]
    for (const piece of pieces) port.deliver(piece, header)
  }
}

function soundTransport(
  frame: Uint8Array,
  transport: number,
  end: number,
  protocol: number,
  layout: PacketLayout,
): boolean {
  if (protocol === IpProtocol.ICMP && layout.ip === 4) return internetChecksum(frame, transport, end) === 0
  if (protocol === IpProtocol.UDP) {
    if (transport + 8 > end || read16(frame, transport + 4) !== end - transport) return false
    // 0 says that the sender did not sum up, which only IPv4 allows.
    if (read16(frame, transport + UDP_CHECKSUM) === 0) return layout.ip === 4
  } else if (protocol !== IpProtocol.TCP) return true
  return internetChecksum(frame, transport, end, pseudoHeaderSum(frame, layout, end - transport)) === 0
}

function parseIpv4(text: string): Uint8Array {
  const bytes = text.split('.').map(Number)
  if (bytes.length !== 4 || bytes.some((byte) => !Number.isInteger(byte) || byte < 0 || byte > 255))
    throw new TypeError(`"${text}" is not an IPv4 address such as 10.0.0.1`)
  return Uint8Array.from(bytes)
}
