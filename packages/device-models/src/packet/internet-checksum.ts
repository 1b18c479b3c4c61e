/** Sum of 16-bit big-endian words with end-around carry, not yet complemented; an odd last byte counts as a high byte. */
export function onesComplementSum(
  bytes: Uint8Array,
  start: number = 0,
  end: number = bytes.length,
  initial: number = 0,
): number {
  let sum = initial
  for (let at = start; at < end; at += 2) sum += ((bytes[at] ?? 0) << 8) | (at + 1 < end ? (bytes[at + 1] ?? 0) : 0)
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000)
  return sum
}

/** The Internet checksum over these bytes (RFC 1071). Over bytes that hold a right one it is 0. */
export function internetChecksum(
  bytes: Uint8Array,
  start: number = 0,
  end: number = bytes.length,
  initial: number = 0,
): number {
  return ~onesComplementSum(bytes, start, end, initial) & 0xffff
}
