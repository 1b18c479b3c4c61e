const HIGH = 2 ** 32

/**
 * Writes one descriptor as four little-endian words, the last one last, the address without BigInt.
 * @param position of its first word in `words`
 * @param last its fourth word: in a split ring flags below and next above, in a packed one id below and flags above
 * @see VIRTIO 1.3 § 2.7.5 "The Virtqueue Descriptor Table"
 * @see VIRTIO 1.3 § 2.8.13 "The Virtqueue Descriptor Format"
 */
export function writeDescriptor(
  words: Uint32Array,
  position: number,
  address: number,
  length: number,
  last: number,
): void {
  // Most transports hand out addresses below 4 GiB; the element store keeps the lower 32 bits of the others.
  words[position] = address
  words[position + 1] = address < HIGH ? 0 : Math.floor(address / HIGH)
  words[position + 2] = length
  words[position + 3] = last
}
