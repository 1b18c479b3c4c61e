import { NetHashReport } from '@virtio-ts/spec'
import {
  findTransport,
  isOverIpv6,
  NO_TRANSPORT,
  transportOffset,
  transportProtocol,
  vlanTagBytes,
} from './find-transport.ts'
import { ETHERNET_HEADER } from './net-limits.ts'
import { toeplitz } from './toeplitz.ts'

const TCP = 6
const UDP = 17
const PORTS = 4

/**
 * The hash that a device which reports `report` for this frame has to give: to check its word, or to go on where it has none.
 * @param frame bytes nobody else writes to
 * @param report `NetHashReport`; those over addresses in extension headers (`*_EX`) are not calculated here
 * @returns undefined when the frame is nothing such a hash is over
 * @see VIRTIO 1.3 § 5.1.6.4.3 "Hash calculation for incoming packets"
 */
export function packetHash(frame: Uint8Array, report: number, key: Uint8Array): number | undefined {
  const found = findTransport(frame, 0, frame.length)
  if (report < NetHashReport.IPV4 || report > NetHashReport.UDPV6 || found === NO_TRANSPORT) return undefined
  const overIpv6 = report >= NetHashReport.IPV6
  const protocol = protocolOf(report)
  if (isOverIpv6(found) !== overIpv6 || (protocol !== undefined && protocol !== transportProtocol(found)))
    return undefined
  const addresses = ETHERNET_HEADER + vlanTagBytes(frame, 0, frame.length) + (overIpv6 ? 8 : 12)
  const length = overIpv6 ? 32 : 8
  const transport = transportOffset(found)
  if (protocol !== undefined && transport + PORTS > frame.length) return undefined
  const input = new Uint8Array(length + (protocol === undefined ? 0 : PORTS))
  input.set(frame.subarray(addresses, addresses + length))
  if (protocol !== undefined) input.set(frame.subarray(transport, transport + PORTS), length)
  return toeplitz(key, input)
}

function protocolOf(report: number): number | undefined {
  if (report === NetHashReport.TCPV4 || report === NetHashReport.TCPV6) return TCP
  if (report === NetHashReport.UDPV4 || report === NetHashReport.UDPV6) return UDP
  return undefined
}
