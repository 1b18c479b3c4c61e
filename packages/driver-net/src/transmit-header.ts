import { NetHeader } from '@virtio-ts/spec'
import { completeChecksum } from './complete-checksum.ts'
import type { NetHeaderFields } from './net-header.ts'
import { NetHeaderFault, type NetHeaderFaultCode } from './net-header-fault.ts'
import { isInside, type NetHeaderPolicy, validateNetHeader } from './validate-net-header.ts'

/**
 * Makes of what the packet's owner asked for a header that the device may be sent: NEEDS_CSUM and segmentation as negotiated and
 * nothing else. A checksum that the device will not complete is completed here.
 * @param header rewritten
 * @returns 0, or why the packet cannot be sent
 * @see VIRTIO 1.3 § 5.1.6.2.1 "Driver Requirements: Packet Transmission"
 */
export function validateTransmitHeader(
  header: NetHeaderFields,
  frame: Uint8Array,
  at: number,
  length: number,
  policy: NetHeaderPolicy,
): NetHeaderFaultCode {
  const needsChecksum = (header.flags & NetHeader.F_NEEDS_CSUM) !== 0
  const segmented = (header.gsoType & ~NetHeader.GSO_ECN) !== NetHeader.GSO_NONE
  // A packet to be segmented MUST have NEEDS_CSUM; DATA_VALID and RSC_INFO MUST NOT be set.
  if (segmented && !needsChecksum) return NetHeaderFault.GSO_CHECKSUM
  header.flags &= NetHeader.F_NEEDS_CSUM
  if (needsChecksum && !segmented && !policy.offloads.checksum) {
    if (!isInside(header.csumStart, header.csumOffset, length)) return NetHeaderFault.CHECKSUM_BOUNDS
    completeChecksum(frame, at, length, header.csumStart, header.csumOffset)
    header.flags = 0
  }
  return validateNetHeader(header, frame, at, length, length, policy)
}
