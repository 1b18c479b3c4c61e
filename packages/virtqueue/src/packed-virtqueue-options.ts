import type { PackedDeviceArea } from './packed-device-area.ts'
import type { SplitVirtqueueOptions } from './split-virtqueue-options.ts'

/** What a packed virtqueue needs to know: as for a split one, but of any size, and without a legacy layout or a start index. */
export interface PackedVirtqueueOptions
  extends Omit<SplitVirtqueueOptions, 'size' | 'legacy' | 'startIndex' | 'mapDeviceArea'> {
  /** Number of descriptors: 1 to 32768. */
  readonly size: number
  /** @internal Tests give another view of the memory that the device writes. */
  readonly mapDeviceArea?: (bytes: Uint8Array, offset: number, size: number) => PackedDeviceArea
}
