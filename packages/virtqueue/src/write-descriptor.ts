const HIGH = 2 ** 32

/**
 * Writes one `struct virtq_desc` as four little-endian words, the address without BigInt.
 * @param position of its first word in `words`
 * @param flagsAndNext flags in the lower half, next in the upper
 * @see VIRTIO 1.3 § 2.7.5 "The Virtqueue Descriptor Table"
 */
export function writeDescriptor(
  words: Uint32Array,
  position: number,
  address: number,
  length: number,
  flagsAndNext: number,
): void {
  // Most transports hand out addresses below 4 GiB; the element store keeps the lower 32 bits of the others.
  words[position] = address
  words[position + 1] = address < HIGH ? 0 : Math.floor(address / HIGH)
  words[position + 2] = length
  words[position + 3] = flagsAndNext
}
