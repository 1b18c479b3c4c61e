import type { DmaRegion } from '@virtio-ts/memory'
import type { PageRange } from './page-source.ts'

const NO_BYTES = new Uint8Array(0)

/** A range as a buffer of a request. Nobody looks into it: what is in free memory is nobody's concern. */
export function memoryOf({ address, length }: PageRange): DmaRegion {
  return { bytes: NO_BYTES, deviceAddress: address, length }
}
