import { SplitRing } from '@virtio-ts/spec'
import type { ChainBuilder } from './chain-builder.ts'
import { writeDescriptor } from './write-descriptor.ts'

/**
 * Writes a chain's buffers one after the other, each linked to the next.
 * @param position of the table's first word in `words`
 * @see VIRTIO 1.3 § 2.7.5.3 "Indirect Descriptors"
 */
export function fillIndirectTable(words: Uint32Array, position: number, chain: ChainBuilder): void {
  const { addresses, lengths, readable } = chain
  const last = chain.count - 1
  for (let i = 0; i <= last; i++) {
    const flags = i < readable ? 0 : SplitRing.DESC_F_WRITE
    const link = i < last ? SplitRing.DESC_F_NEXT | ((i + 1) << 16) : 0
    writeDescriptor(words, position + (i << 2), addresses[i]!, lengths[i]!, flags | link)
  }
}
