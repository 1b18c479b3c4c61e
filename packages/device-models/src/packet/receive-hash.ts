import { NetHashReport, NetHashType } from '@virtio-ts/spec'
import { IpProtocol, packetLayout } from './packet-layout.ts'

/** What a device says of a packet. */
export interface ReceiveHash {
  /** `NetHashReport` */
  readonly report: number
  readonly value: number
}

export const NO_HASH: ReceiveHash = { report: NetHashReport.NONE, value: 0 }

const HOP_BY_HOP = 0
const ROUTING = 43
const DESTINATION_OPTIONS = 60
const HOME_ADDRESS = 0xc9
const ROUTING_TYPE_2 = 2

interface Flow {
  readonly extended: boolean
  readonly source: Uint8Array
  readonly destination: Uint8Array
  readonly protocol: number
  /** Source and destination port; empty in all but the first fragment. */
  readonly ports: Uint8Array
}

/**
 * The hash of a packet by those types that are enabled.
 * @see VIRTIO 1.3 § 5.1.6.4.3 "Hash calculation for incoming packets"
 */
export function receiveHash(frame: Uint8Array, types: number, key: Uint8Array): ReceiveHash {
  const layout = packetLayout(frame)
  if (layout.ip === 4) {
    const { network, transport, protocol, fragment, end } = layout
    const flow = {
      extended: false,
      source: frame.subarray(network + 12, network + 16),
      destination: frame.subarray(network + 16, network + 20),
      protocol: fragment ? -1 : protocol,
      ports: frame.subarray(transport, Math.min(transport + 4, end)),
    }
    const { TCPV4, UDPV4, IPV4 } = NetHashReport
    return hashOf(flow, types, key, [TCPV4, UDPV4, IPV4])
  }
  const flow = layout.ip === 6 ? ipv6Flow(frame, layout.network, layout.end) : undefined
  if (!flow) return NO_HASH
  const { TCPV6_EX, UDPV6_EX, IPV6_EX, TCPV6, UDPV6, IPV6 } = NetHashReport
  if (flow.extended) {
    const extended = hashOf(flow, types, key, [TCPV6_EX, UDPV6_EX, IPV6_EX])
    if (extended !== NO_HASH) return extended
  }
  const plain = {
    ...flow,
    source: frame.subarray(layout.network + 8, layout.network + 24),
    destination: frame.subarray(layout.network + 24, layout.network + 40),
  }
  return hashOf(plain, types, key, [TCPV6, UDPV6, IPV6])
}

/** @param reports for TCP, UDP and any other */
function hashOf(
  flow: Flow,
  types: number,
  key: Uint8Array,
  [tcp, udp, ip]: readonly [number, number, number],
): ReceiveHash {
  const { source, destination, ports, protocol } = flow
  const enabled = (report: number): boolean => (types & (1 << (report - 1)) & NetHashType.ALL) !== 0
  const withPorts = protocol === IpProtocol.TCP ? tcp : protocol === IpProtocol.UDP ? udp : undefined
  if (withPorts !== undefined && ports.length === 4 && enabled(withPorts))
    return { report: withPorts, value: toeplitz(key, [...source, ...destination, ...ports]) }
  return enabled(ip) ? { report: ip, value: toeplitz(key, [...source, ...destination]) } : NO_HASH
}

function ipv6Flow(frame: Uint8Array, network: number, end: number): Flow | undefined {
  let protocol = frame[network + 6] ?? 0
  let at = network + 40
  let source = frame.subarray(network + 8, network + 24)
  let destination = frame.subarray(network + 24, network + 40)
  let extended = false
  while (protocol === HOP_BY_HOP || protocol === ROUTING || protocol === DESTINATION_OPTIONS) {
    const length = ((frame[at + 1] ?? 0) + 1) * 8
    if (at + length > end) return undefined
    if (protocol === ROUTING && frame[at + 2] === ROUTING_TYPE_2 && length >= 24)
      destination = frame.subarray(at + 8, at + 24)
    if (protocol === DESTINATION_OPTIONS) source = homeAddress(frame.subarray(at + 2, at + length)) ?? source
    extended = true
    protocol = frame[at] ?? 0
    at += length
  }
  return { extended, source, destination, protocol, ports: frame.subarray(at, Math.min(at + 4, end)) }
}

function homeAddress(options: Uint8Array): Uint8Array | undefined {
  for (let at = 0; at < options.length; ) {
    const type = options[at]
    const length = options[at + 1] ?? 0
    if (type === HOME_ADDRESS && length === 16 && at + 18 <= options.length) return options.subarray(at + 2, at + 18)
    // A byte of padding has no length.
    at += type === 0 ? 1 : 2 + length
  }
  return undefined
}

/** Bit by bit: for each bit of the input that is set, the 32 bits of the key from there on. */
function toeplitz(key: Uint8Array, input: readonly number[]): number {
  const keyBit = (n: number): number => ((key[n >> 3] ?? 0) >> (7 - (n & 7))) & 1
  let hash = 0
  for (let bit = 0; bit < input.length * 8; bit++) {
    if ((((input[bit >> 3] ?? 0) >> (7 - (bit & 7))) & 1) === 0) continue
    let window = 0
    for (let n = 0; n < 32; n++) window = (window << 1) | keyBit(bit + n)
    hash ^= window
  }
  return hash >>> 0
}
