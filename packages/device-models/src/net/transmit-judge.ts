import { hasFeature, NetFeature, NetHeader, ReservedFeature } from '@virtio-ts/spec'
import type { DescriptorChain } from '../descriptor-chain.ts'
import type { DeviceHost } from '../device-model.ts'
import { Rules } from '../rules.ts'
import type { NetPacketHeader } from './net-header.ts'

const { F_NEEDS_CSUM, F_DATA_VALID, F_RSC_INFO, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, GSO_ECN } =
  NetHeader
const ETHERNET_HEADER = 14
const VLAN_TAG = 4

const gsoFeature: Readonly<Record<number, number>> = {
  [GSO_TCPV4]: NetFeature.HOST_TSO4,
  [GSO_TCPV6]: NetFeature.HOST_TSO6,
  [GSO_UDP]: NetFeature.HOST_UFO,
  [GSO_UDP_L4]: NetFeature.HOST_USO,
}

/**
 * Holds a packet of the driver against the rules.
 * @see VIRTIO 1.3 § 5.1.6.2.1 "Driver Requirements: Packet Transmission"
 */
export function judgeTransmission(
  host: DeviceHost,
  chain: DescriptorChain,
  header: NetPacketHeader,
  frameLength: number,
  mtu: number,
): void {
  const has = (bit: number): boolean => hasFeature(host.features, bit)
  const fault = (text: string): void => host.violation(Rules.NET_TRANSMIT, text)
  const kind = header.gsoType & ~GSO_ECN
  if (chain.writable.length > 0) fault('a packet with a device-writable part')
  if (header.numBuffers !== 0) fault(`num_buffers is ${header.numBuffers}, not 0`)
  if ((header.flags & (F_DATA_VALID | F_RSC_INFO)) !== 0) fault('DATA_VALID or RSC_INFO set by the driver')
  if (header.flags !== 0 && !has(NetFeature.CSUM)) fault(`flags are 0x${header.flags.toString(16)} without CSUM`)
  if ((header.flags & F_NEEDS_CSUM) !== 0 && header.csumStart + header.csumOffset + 2 > frameLength)
    fault(`a checksum at ${header.csumStart}+${header.csumOffset} lies outside a packet of ${frameLength} bytes`)
  if (kind !== GSO_NONE) {
    const bit = gsoFeature[kind]
    if (bit === undefined || !has(bit)) fault(`gso_type ${kind} was not negotiated`)
    if ((header.flags & F_NEEDS_CSUM) === 0) fault('gso_type without NEEDS_CSUM')
    if (header.gsoSize === 0) fault('gso_type without gso_size')
  }
  if ((header.gsoType & GSO_ECN) !== 0 && !has(NetFeature.HOST_ECN)) fault('GSO_ECN without HOST_ECN')
  if (has(NetFeature.MTU) && kind === GSO_NONE && frameLength > mtu + ETHERNET_HEADER + VLAN_TAG)
    host.violation(Rules.NET_CONFIG, `a packet of ${frameLength} bytes is longer than the MTU ${mtu}`)
}

/** VIRTIO 1.3 § 5.1.6.6 "Legacy Interface: Framing Requirements" */
export function needsLegacyFraming(features: bigint): boolean {
  return !hasFeature(features, ReservedFeature.VERSION_1) && !hasFeature(features, ReservedFeature.ANY_LAYOUT)
}
