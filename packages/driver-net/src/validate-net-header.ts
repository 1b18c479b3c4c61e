import { NetHeader } from '@virtio-ts/spec'
import {
  findTransport,
  isOverIpv6,
  NO_TRANSPORT,
  transportOffset,
  transportProtocol,
  vlanTagBytes,
} from './find-transport.ts'
import type { NetHeaderFields } from './net-header.ts'
import { NetHeaderFault, type NetHeaderFaultCode } from './net-header-fault.ts'
import { ETHERNET_HEADER, MAX_GSO_FRAME } from './net-limits.ts'
import type { NetOffloads } from './net-offloads.ts'

/** What a header is held against, in one direction. */
export interface NetHeaderPolicy {
  /** What was negotiated. */
  readonly offloads: NetOffloads
  /** Longest frame that is not to be segmented, without VLAN tags: the MTU and an Ethernet header. */
  readonly maxFrame: number
  /** Smallest segment anyone may ask for: a byte each would make tens of thousands of packets out of one. */
  readonly minimumGsoSize: number
  /** Whether the other side's word that a checksum is right (DATA_VALID) is passed on. */
  readonly trustChecksums: boolean
}

const TCP = 6
const UDP = 17
const TCP_MIN_HEADER = 20
const UDP_HEADER = 8
const TCP_CHECKSUM = 16
const UDP_CHECKSUM = 6
/** Ethernet and the shortest IP header: no transport header starts before. */
const FIRST_TRANSPORT = ETHERNET_HEADER + 20
/** A segment size with a meaning of its own to Linux. */
const GSO_BY_FRAGS = 0xffff

/**
 * Holds a header against its packet and what was negotiated, and rewrites it to what may be passed on: flags nobody
 * agreed to are gone, fields without meaning are 0, `hdrLen` is exact. Operating systems check less than this (a TAP
 * interface takes TCP segmentation on an ARP packet), so nothing goes past here unchecked.
 *
 * `header` and `frame` are read more than once: they must not be memory that the device can write to.
 * @param header rewritten only when the answer is 0
 * @param frame bytes that hold the start of the frame, from `at`
 * @param available how many of the frame's bytes are in `frame`; `HEAD_LENGTH` are always enough
 * @param length bytes of the whole frame
 * @returns 0, or why the packet has to be dropped
 * @see VIRTIO 1.3 § 5.1.6.4.2 "Driver Requirements: Processing of Incoming Packets"
 */
export function validateNetHeader(
  header: NetHeaderFields,
  frame: Uint8Array,
  at: number,
  available: number,
  length: number,
  policy: NetHeaderPolicy,
): NetHeaderFaultCode {
  const needsChecksum = (header.flags & NetHeader.F_NEEDS_CSUM) !== 0
  if (needsChecksum) {
    if (!policy.offloads.checksum) return NetHeaderFault.CHECKSUM_TYPE
    // With this flag the two fields carry numbers of another kind, so that the checksum cannot be completed.
    if ((header.flags & NetHeader.F_RSC_INFO) !== 0) return NetHeaderFault.CHECKSUM_RSC
  }
  // The ECN bit alone asks for nothing.
  const segmented = (header.gsoType & ~NetHeader.GSO_ECN) !== NetHeader.GSO_NONE
  const fault = segmented
    ? validateSegmentation(header, frame, at, available, length, policy)
    : validatePlain(header, frame, at, available, length, policy)
  if (fault !== NetHeaderFault.NONE) return fault
  const valid = policy.trustChecksums && policy.offloads.checksum ? header.flags & NetHeader.F_DATA_VALID : 0
  if (needsChecksum) header.flags = NetHeader.F_NEEDS_CSUM | valid
  else {
    header.flags = valid
    header.csumStart = 0
    header.csumOffset = 0
  }
  return NetHeaderFault.NONE
}

/** Whether a frame that is not to be segmented is of a length that may be. */
export function validateFrameLength(
  frame: Uint8Array,
  at: number,
  available: number,
  length: number,
  maxFrame: number,
): NetHeaderFaultCode {
  if (length < ETHERNET_HEADER) return NetHeaderFault.FRAME_SHORT
  if (length <= maxFrame || length <= maxFrame + vlanTagBytes(frame, at, available)) return NetHeaderFault.NONE
  return NetHeaderFault.FRAME_LONG
}

function validatePlain(
  header: NetHeaderFields,
  frame: Uint8Array,
  at: number,
  available: number,
  length: number,
  policy: NetHeaderPolicy,
): NetHeaderFaultCode {
  const fault = validateFrameLength(frame, at, available, length, policy.maxFrame)
  if (fault !== NetHeaderFault.NONE) return fault
  const { csumStart, csumOffset } = header
  if ((header.flags & NetHeader.F_NEEDS_CSUM) !== 0 && !isInside(csumStart, csumOffset, length)) {
    return NetHeaderFault.CHECKSUM_BOUNDS
  }
  header.gsoType = NetHeader.GSO_NONE
  header.gsoSize = 0
  header.hdrLen = 0
  return NetHeaderFault.NONE
}

/** Whether a checksum from `start`, stored `offset` bytes behind, lies in the frame and behind its IP header. */
export function isInside(start: number, offset: number, length: number): boolean {
  return start >= FIRST_TRANSPORT && start + offset + 2 <= length
}

function validateSegmentation(
  header: NetHeaderFields,
  frame: Uint8Array,
  at: number,
  available: number,
  length: number,
  policy: NetHeaderPolicy,
): NetHeaderFaultCode {
  const type = header.gsoType & ~NetHeader.GSO_ECN
  if (!isNegotiated(type, policy.offloads)) return NetHeaderFault.GSO_TYPE
  if (header.gsoType !== type && (!policy.offloads.ecn || type === NetHeader.GSO_UDP)) return NetHeaderFault.GSO_ECN
  if (length > MAX_GSO_FRAME) return NetHeaderFault.FRAME_LONG
  if (header.gsoSize < policy.minimumGsoSize || header.gsoSize === GSO_BY_FRAGS) return NetHeaderFault.GSO_SIZE
  const found = findTransport(frame, at, available)
  if (found === NO_TRANSPORT || !isOfType(found, type)) return NetHeaderFault.GSO_PROTOCOL
  const transport = transportOffset(found)
  const headers = transport + transportHeaderLength(frame, at + transport, available - transport, type)
  if (headers === transport || headers >= length) return NetHeaderFault.GSO_HEADERS
  if ((header.flags & NetHeader.F_NEEDS_CSUM) !== 0) {
    const checksum = type === NetHeader.GSO_UDP ? UDP_CHECKSUM : TCP_CHECKSUM
    if (header.csumStart !== transport || header.csumOffset !== checksum) return NetHeaderFault.GSO_CHECKSUM
  }
  // What came in this field is a hint at best; what goes out is right.
  header.hdrLen = headers
  return NetHeaderFault.NONE
}

function isNegotiated(type: number, offloads: NetOffloads): boolean {
  switch (type) {
    case NetHeader.GSO_TCPV4:
      return offloads.tso4
    case NetHeader.GSO_TCPV6:
      return offloads.tso6
    case NetHeader.GSO_UDP:
      return offloads.ufo
    default:
      return false
  }
}

function isOfType(found: number, type: number): boolean {
  const protocol = transportProtocol(found)
  if (type === NetHeader.GSO_UDP) return protocol === UDP
  return protocol === TCP && isOverIpv6(found) === (type === NetHeader.GSO_TCPV6)
}

/** Bytes of the transport header at `at`; 0 when it is not there in full. */
function transportHeaderLength(frame: Uint8Array, at: number, available: number, type: number): number {
  if (type === NetHeader.GSO_UDP) return available < UDP_HEADER ? 0 : UDP_HEADER
  if (available < TCP_MIN_HEADER) return 0
  const length = (frame[at + 12]! >> 4) << 2
  return length < TCP_MIN_HEADER || available < length ? 0 : length
}
