import { PackedRing } from '@virtio-ts/spec'
import type { ChainBuilder } from './chain-builder.ts'
import { writeDescriptor } from './write-descriptor.ts'

/**
 * Writes a chain's buffers one after the other: their order is that of the table, and WRITE is the only flag.
 * @param position of the table's first word in `words`
 * @see VIRTIO 1.3 § 2.8.19 "Driver Requirements: Indirect Descriptors"
 */
export function fillPackedTable(words: Uint32Array, position: number, chain: ChainBuilder): void {
  const { addresses, lengths, readable, count } = chain
  for (let i = 0; i < count; i++) {
    const flags = i < readable ? 0 : PackedRing.DESC_F_WRITE
    writeDescriptor(words, position + (i << 2), addresses[i]!, lengths[i]!, flags << 16)
  }
}
