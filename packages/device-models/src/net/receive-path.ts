import { hasFeature, NetFeature, NetHeader } from '@virtio-ts/spec'
import type { DescriptorChain } from '../descriptor-chain.ts'
import type { DeviceHost } from '../device-model.ts'
import type { DeviceRing } from '../device-ring.ts'
import { completeChecksum, toWire } from '../packet/segmentation.ts'
import { Rules } from '../rules.ts'
import { encodeNetHeader, type NetPacketHeader, netHeaderLength, PLAIN_HEADER } from './net-header.ts'
import { type NetState, negotiated } from './net-state.ts'
import type { Steering } from './steering.ts'
import { needsLegacyFraming } from './transmit-judge.ts'

/**
 * What became of a frame for the driver: in its buffers; kept until it has some; kept back by the receive filter; lost (no link, no
 * driver, no room, too long).
 */
export type Delivery = 'delivered' | 'queued' | 'filtered' | 'dropped'

interface Packet {
  readonly frame: Uint8Array
  readonly header: NetPacketHeader
}

const { F_NEEDS_CSUM, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, GSO_ECN } = NetHeader
const ETHERNET_AND_VLAN = 18

const gsoFeature: Readonly<Record<number, number>> = {
  [GSO_TCPV4]: NetFeature.GUEST_TSO4,
  [GSO_TCPV6]: NetFeature.GUEST_TSO6,
  [GSO_UDP]: NetFeature.GUEST_UFO,
  [GSO_UDP_L4]: NetFeature.GUEST_USO4,
}

/** Puts packets into the receive queue. @see VIRTIO 1.3 § 5.1.6.4 "Processing of Incoming Packets" */
export class ReceivePath {
  readonly #state: NetState
  readonly #steering: Steering
  readonly #limit: number
  /** By pair. */
  readonly #backlogs: Packet[][]

  /** @param limit frames kept while the driver has no buffers */
  constructor(state: NetState, steering: Steering, limit: number) {
    this.#state = state
    this.#steering = steering
    this.#limit = limit
    this.#backlogs = Array.from({ length: state.pairs }, () => [])
  }

  get queued(): number {
    return this.#backlogs.reduce((sum, backlog) => sum + backlog.length, 0)
  }

  reset(): void {
    for (const backlog of this.#backlogs) backlog.length = 0
  }

  deliver(frame: Uint8Array, header: Partial<NetPacketHeader>): Delivery {
    const { host, counters, filter, linkUp } = this.#state
    if (!host || !linkUp || !host.ring(0)) {
      counters.droppedNotReady++
      return 'dropped'
    }
    if (!filter.accepts(frame)) {
      counters.filtered++
      return 'filtered'
    }
    const packets = this.#fit({ frame, header: { ...PLAIN_HEADER, ...header } })
    let worst: Delivery = packets.length === 0 ? 'dropped' : 'delivered'
    for (const packet of packets) {
      const outcome = this.#accept(packet)
      if (outcome === 'dropped' || worst === 'delivered') worst = outcome
    }
    return worst
  }

  /** The driver has made buffers available: passes on what waits for them. */
  run(pair: number): void {
    const ring = this.#state.host?.ring(2 * pair)
    const backlog = this.#backlogs[pair]
    if (!ring || !backlog) return
    ring.suppressNotifications()
    for (;;) {
      while (backlog[0] && this.#write(ring, backlog[0]) !== 'queued') backlog.shift()
      // With an empty backlog nothing waits for buffers: the device looks at the ring when a frame comes.
      if (backlog.length === 0) return
      const before = ring.available
      ring.requestNotifications()
      if (ring.available === before) return
    }
  }

  #accept(packet: Packet): Delivery {
    const { host, counters, config } = this.#state
    const hash = this.#steering.hash(packet.frame)
    const pair = this.#steering.pairOf(packet.frame, hash)
    const ring = host?.ring(2 * pair)
    const backlog = this.#backlogs[pair]
    if (!ring || !backlog) return 'dropped'
    if (negotiated(this.#state, 'HASH_REPORT')) {
      const { header } = packet
      packet = { ...packet, header: { ...header, hashReport: hash.report, hashValue: hash.value } }
    }
    // VIRTIO 1.3 § 5.1.4.1 "Device Requirements: Device configuration layout": nothing longer than the MTU, unless it is to be cut.
    if (
      negotiated(this.#state, 'MTU') &&
      (packet.header.gsoType & ~GSO_ECN) === GSO_NONE &&
      packet.frame.length > config.mtu + ETHERNET_AND_VLAN
    ) {
      counters.droppedTooLong++
      return 'dropped'
    }
    if (backlog.length === 0) {
      const outcome = this.#write(ring, packet)
      if (outcome !== 'queued') return outcome
    }
    if (backlog.length >= this.#limit) {
      counters.droppedNoBuffer++
      return 'dropped'
    }
    // A copy: the frame is its giver's again once this returns.
    const kept = { ...packet, frame: packet.frame.slice() }
    backlog.push(kept)
    this.run(pair)
    return backlog.includes(kept) ? 'queued' : 'delivered'
  }

  /**
   * Turns a packet into what this driver takes: checksums and cutting that it did not ask for are done here.
   * VIRTIO 1.3 § 5.1.6.4.1 "Device Requirements: Processing of Incoming Packets"
   */
  #fit({ frame, header }: Packet): Packet[] {
    const { offloads, counters } = this.#state
    const takes = (bit: number | undefined): boolean => bit !== undefined && hasFeature(offloads, bit)
    const kind = header.gsoType & ~GSO_ECN
    const ecn = (header.gsoType & GSO_ECN) === 0 || takes(NetFeature.GUEST_ECN)
    if (kind !== GSO_NONE && !(takes(gsoFeature[kind]) && ecn)) {
      const frames = toWire(frame, header)
      if (!frames) counters.droppedInvalid++
      return (frames ?? []).map((piece) => ({ frame: piece, header: PLAIN_HEADER }))
    }
    if (takes(NetFeature.GUEST_CSUM)) return [{ frame, header }]
    const completed = (header.flags & F_NEEDS_CSUM) === 0 ? frame : completeChecksum(frame, header)
    if (!completed) counters.droppedInvalid++
    return completed ? [{ frame: completed, header: PLAIN_HEADER }] : []
  }

  #write(ring: DeviceRing, { frame, header }: Packet): Delivery {
    const { host, counters } = this.#state
    if (!host) return 'dropped'
    const headerLength = netHeaderLength(host.features)
    const mergeable = hasFeature(host.features, NetFeature.MRG_RXBUF)
    const chains = this.#gather(ring, headerLength + frame.length, mergeable)
    const room = chains.reduce((sum, chain) => sum + chain.writableLength, 0)
    const usable = chains.every((chain, n) => this.#usable(host, chain, n === 0 ? headerLength : 0, mergeable))
    if (room < headerLength + frame.length || !usable) {
      ring.untake(chains)
      const hopeless = chains.length > 0 && (!mergeable || chains.length >= ring.size || !usable)
      if (!hopeless) return 'queued'
      counters.droppedTooLong++
      return 'dropped'
    }
    const count = mergeable ? chains.length : 1
    const bytes = new Uint8Array(headerLength + frame.length)
    bytes.set(encodeNetHeader({ ...header, numBuffers: count }, headerLength))
    bytes.set(frame, headerLength)
    // VIRTIO 1.3 § 5.1.6.4.1 "Device Requirements: Processing of Incoming Packets": all but the last buffer are filled completely.
    const written: number[] = []
    let done = 0
    for (const chain of chains) {
      const part = chain.write(bytes.subarray(done))
      written.push(part)
      done += part
    }
    host.show('receive', { ring, chains, headerLength, written })
    written.forEach((length, n) => {
      const chain = chains[n]
      if (chain) ring.push(chain, length)
    })
    ring.flush()
    counters.framesToDriver++
    counters.bytesToDriver += frame.length
    return 'delivered'
  }

  /** Takes buffers until the packet fits; one only where the driver cannot merge. */
  #gather(ring: DeviceRing, length: number, mergeable: boolean): DescriptorChain[] {
    const chains: DescriptorChain[] = []
    let room = 0
    while (room < length && (mergeable || chains.length === 0)) {
      const chain = ring.take()
      if (!chain) break
      chains.push(chain)
      room += chain.writableLength
    }
    return chains
  }

  #usable(host: DeviceHost, chain: DescriptorChain, headerLength: number, mergeable: boolean): boolean {
    if (chain.readable.length > 0)
      host.violation(Rules.NET_RECEIVE_BUFFERS, 'a receive buffer with a device-readable part')
    if (mergeable && chain.writableLength < NetHeader.LENGTH)
      host.violation(
        Rules.NET_RECEIVE_BUFFERS,
        `a receive buffer of ${chain.writableLength} bytes, shorter than the header`,
      )
    if (
      headerLength > 0 &&
      !mergeable &&
      needsLegacyFraming(host.features) &&
      chain.writable[0]?.length !== headerLength
    )
      host.violation(
        Rules.NET_LEGACY_FRAMING,
        'receive: the header is not in a descriptor of its own, without ANY_LAYOUT',
      )
    const moment = { chain, headerLength, mergeable, usable: true }
    host.show('receive-buffer', moment)
    return moment.usable
  }
}
