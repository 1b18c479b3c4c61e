import { alignUp, type QueueLayout } from './queue-layout.ts'

/**
 * Layout of a split virtqueue in memory: sizes and offsets in bytes.
 * @see VIRTIO 1.3 § 2.7 "Split Virtqueues"
 */
export const SplitRing = {
  /** struct virtq_desc { le64 addr; le32 len; le16 flags; le16 next; } */
  DESCRIPTOR_SIZE: 16,
  DESC_F_NEXT: 1,
  DESC_F_WRITE: 2,
  DESC_F_INDIRECT: 4,
  /** struct virtq_avail { le16 flags; le16 idx; le16 ring[]; le16 used_event; } */
  AVAIL_FLAGS: 0,
  AVAIL_IDX: 2,
  AVAIL_RING: 4,
  AVAIL_F_NO_INTERRUPT: 1,
  /** struct virtq_used { le16 flags; le16 idx; struct { le32 id; le32 len; } ring[]; le16 avail_event; } */
  USED_FLAGS: 0,
  USED_IDX: 2,
  USED_RING: 4,
  USED_ELEMENT_SIZE: 8,
  USED_F_NO_NOTIFY: 1,
  MAX_SIZE: 32768,
} as const

/** What precedes the elements of the device area has 4 bytes: with 4 more before it, they begin at a multiple of 8. */
const DEVICE_AREA_SHIFT = 4

/**
 * @param size number of descriptors, a power of two up to 32768
 * @param legacy true for the legacy interface: one contiguous stretch, the used ring on the next 4096-byte boundary
 * (VIRTIO 1.3 § 2.7.2 "Legacy Interfaces: A Note on Virtqueue Layout"); false: areas aligned to 16, 2 and 4 bytes,
 * padded so that no two areas share a 64-byte cache line, and the device area such that each of its elements is within 8
 * aligned bytes: through an IOMMU, QEMU before 9.0 writes the second half of one that crosses a page to an address of
 * somebody else's
 */
export function splitRingLayout(size: number, legacy: boolean): QueueLayout {
  const descriptorAreaLength = SplitRing.DESCRIPTOR_SIZE * size
  const driverAreaLength = 6 + 2 * size
  const deviceAreaLength = 6 + SplitRing.USED_ELEMENT_SIZE * size
  const driverArea = legacy ? descriptorAreaLength : alignUp(descriptorAreaLength, 64)
  const deviceArea = alignUp(driverArea + driverAreaLength, legacy ? 4096 : 64) + (legacy ? 0 : DEVICE_AREA_SHIFT)
  const length = alignUp(deviceArea + deviceAreaLength, legacy ? 4096 : 64)
  return {
    descriptorArea: 0,
    driverArea,
    deviceArea,
    descriptorAreaLength,
    driverAreaLength,
    deviceAreaLength,
    length,
    alignment: legacy ? 4096 : 64,
  }
}
