import { NetHeader } from '@virtio-ts/spec'
import type { NetPacketHeader } from '../net/net-header.ts'
import { onesComplementSum } from './internet-checksum.ts'
import {
  finishIpv4Header,
  IpProtocol,
  type PacketLayout,
  packetLayout,
  pseudoHeaderSum,
  read16,
  write16,
} from './packet-layout.ts'

const { F_NEEDS_CSUM, GSO_NONE, GSO_TCPV4, GSO_TCPV6, GSO_UDP, GSO_UDP_L4, GSO_ECN } = NetHeader
const TCP_FIN_PSH = 0x09
const TCP_CWR = 0x80
const MORE_FRAGMENTS = 0x2000

type Offload = Pick<NetPacketHeader, 'flags' | 'gsoType' | 'gsoSize' | 'csumStart' | 'csumOffset'>

/**
 * Does in software what a packet's header leaves to the other side: the checksum, and cutting it up.
 *
 * @returns the frames as they go over a wire; undefined when the header does not fit the packet
 */
export function toWire(frame: Uint8Array, header: Offload): Uint8Array[] | undefined {
  const kind = header.gsoType & ~GSO_ECN
  if (kind === GSO_NONE) {
    if ((header.flags & F_NEEDS_CSUM) === 0) return [frame]
    const completed = completeChecksum(frame, header)
    return completed && [completed]
  }
  const layout = packetLayout(frame)
  if (header.gsoSize === 0 || layout.fragment) return undefined
  const { ip, protocol } = layout
  if ((kind === GSO_TCPV4 && ip === 4) || (kind === GSO_TCPV6 && ip === 6))
    return protocol === IpProtocol.TCP ? cutTcp(frame, layout, header.gsoSize) : undefined
  if (protocol !== IpProtocol.UDP || ip === undefined) return undefined
  if (kind === GSO_UDP_L4) return cutUdp(frame, layout, header.gsoSize)
  if (kind !== GSO_UDP || ip !== 4) return undefined
  const completed = completeChecksum(frame, header)
  return completed && fragment(completed, header.gsoSize)
}

/**
 * The packet with its checksum filled in: the ones' complement sum from `csumStart` to the end, which counts in what the checksum field
 * holds, the sum over the pseudo header. VIRTIO 1.3 § 5.1.6.2 "Packet Transmission"
 */
export function completeChecksum(
  frame: Uint8Array,
  { csumStart, csumOffset }: Pick<Offload, 'csumStart' | 'csumOffset'>,
): Uint8Array | undefined {
  const field = csumStart + csumOffset
  if (field + 2 > frame.length) return undefined
  const done = frame.slice()
  const checksum = ~onesComplementSum(frame, csumStart, frame.length) & 0xffff
  // For UDP a 0 says that there is no checksum; the other zero means the same sum.
  write16(done, field, checksum === 0 && csumOffset === 6 ? 0xffff : checksum)
  return done
}

function cutTcp(frame: Uint8Array, layout: PacketLayout, size: number): Uint8Array[] | undefined {
  const { transport } = layout
  const payload = transport + ((frame[transport + 12] ?? 0) >>> 4) * 4
  if (payload < transport + 20 || payload > layout.end) return undefined
  const sequence = new DataView(frame.buffer, frame.byteOffset).getUint32(transport + 4)
  return cut(frame, layout, payload, size, transport + 16, (segment, from, first, last) => {
    new DataView(segment.buffer).setUint32(transport + 4, (sequence + from) >>> 0)
    const flags = segment[transport + 13] ?? 0
    segment[transport + 13] = flags & ~(last ? 0 : TCP_FIN_PSH) & ~(first ? 0 : TCP_CWR)
  })
}

function cutUdp(frame: Uint8Array, layout: PacketLayout, size: number): Uint8Array[] | undefined {
  const { transport } = layout
  if (transport + 8 > layout.end) return undefined
  return cut(frame, layout, transport + 8, size, transport + 6, (segment) =>
    write16(segment, transport + 4, segment.length - transport),
  )
}

/** Every piece gets the headers, lengths of its own and a full checksum. */
function cut(
  frame: Uint8Array,
  layout: PacketLayout,
  payload: number,
  size: number,
  checksumField: number,
  adjust: (segment: Uint8Array, from: number, first: boolean, last: boolean) => void,
): Uint8Array[] {
  const { ip, network, transport, end } = layout
  const pieces: Uint8Array[] = []
  const identification = read16(frame, network + 4)
  for (let at = payload; at < end || pieces.length === 0; at += size) {
    const stop = Math.min(at + size, end)
    const segment = new Uint8Array(payload + stop - at)
    segment.set(frame.subarray(0, payload))
    segment.set(frame.subarray(at, stop), payload)
    if (ip === 4) {
      write16(segment, network + 2, segment.length - network)
      write16(segment, network + 4, (identification + pieces.length) & 0xffff)
      finishIpv4Header(segment, network, transport)
    } else write16(segment, network + 4, segment.length - transport)
    adjust(segment, at - payload, pieces.length === 0, stop === end)
    write16(segment, checksumField, 0)
    const sum = pseudoHeaderSum(segment, layout, segment.length - transport)
    write16(segment, checksumField, ~onesComplementSum(segment, transport, segment.length, sum) & 0xffff)
    pieces.push(segment)
  }
  return pieces
}

/** Fragments an IPv4 datagram. @param size payload bytes of each but the last; counts in units of 8 */
export function fragment(frame: Uint8Array, size: number): Uint8Array[] {
  const { network, transport, end } = packetLayout(frame)
  const step = Math.max(8, size - (size % 8))
  const pieces: Uint8Array[] = []
  for (let at = transport; at < end; at += step) {
    const stop = Math.min(at + step, end)
    const piece = new Uint8Array(transport + stop - at)
    piece.set(frame.subarray(0, transport))
    piece.set(frame.subarray(at, stop), transport)
    write16(piece, network + 2, piece.length - network)
    write16(piece, network + 6, ((at - transport) / 8) | (stop < end ? MORE_FRAGMENTS : 0))
    finishIpv4Header(piece, network, transport)
    pieces.push(piece)
  }
  return pieces
}
