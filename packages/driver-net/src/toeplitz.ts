/**
 * The Toeplitz hash of receive-side scaling: for each bit of the input that is set, the 32 bits of the key from that bit on, added
 * without carry.
 * @param key as many bytes as the input and four more; what is missing counts as 0
 * @param input bytes as they are on the wire, from `start` to `end`
 * @returns 32 bits, unsigned
 * @see VIRTIO 1.3 § 5.1.6.4.3 "Hash calculation for incoming packets"
 */
export function toeplitz(key: Uint8Array, input: Uint8Array, start = 0, end: number = input.length): number {
  let window = ((key[0] ?? 0) << 24) | ((key[1] ?? 0) << 16) | ((key[2] ?? 0) << 8) | (key[3] ?? 0)
  let hash = 0
  for (let i = start; i < end; i++) {
    const byte = input[i]!
    const next = key[i - start + 4] ?? 0
    for (let bit = 7; bit >= 0; bit--) {
      if ((byte >> bit) & 1) hash ^= window
      window = (window << 1) | ((next >> bit) & 1)
    }
  }
  return hash >>> 0
}
