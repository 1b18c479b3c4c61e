/**
 * Completes a transport checksum: the ones' complement of the sum from `start` to the end of the frame, where the checksum
 * field holds the pseudo header's sum so far.
 * @param at offset of the frame in `bytes`
 * @param start of the part summed up, from the start of the frame
 * @param offset of the checksum field, from `start`
 */
export function completeChecksum(bytes: Uint8Array, at: number, length: number, start: number, offset: number): void {
  const end = at + length
  let sum = 0
  let i = at + start
  // A frame has 64 KiB at most, so the sum stays far below 2^31.
  for (; i + 1 < end; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!
  if (i < end) sum += bytes[i]! << 8
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  // 0 means "no checksum" to UDP; 0xffff is the same number in ones' complement.
  const checksum = ~sum & 0xffff || 0xffff
  bytes[at + start + offset] = checksum >> 8
  bytes[at + start + offset + 1] = checksum
}
