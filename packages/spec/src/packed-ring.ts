import { alignUp, type QueueLayout } from './queue-layout.ts'

/**
 * Layout of a packed virtqueue in memory: sizes and offsets in bytes.
 * @see VIRTIO 1.3 § 2.8 "Packed Virtqueues"
 */
export const PackedRing = {
  /** struct pvirtq_desc { le64 addr; le32 len; le16 id; le16 flags; } */
  DESCRIPTOR_SIZE: 16,
  DESC_LENGTH: 8,
  DESC_ID: 12,
  DESC_FLAGS: 14,
  DESC_F_NEXT: 1,
  DESC_F_WRITE: 2,
  DESC_F_INDIRECT: 4,
  /** Equals the driver's wrap counter in an available descriptor, the device's in a used one. */
  DESC_F_AVAIL: 0x80,
  /** The opposite of the driver's wrap counter in an available descriptor, equals the device's in a used one. */
  DESC_F_USED: 0x8000,
  /** struct pvirtq_event_suppress { le16 { desc_event_off : 15; desc_event_wrap : 1 }; le16 flags; } */
  EVENT_SUPPRESSION_SIZE: 4,
  EVENT_OFFSET_AND_WRAP: 0,
  EVENT_FLAGS: 2,
  EVENT_OFFSET_MASK: 0x7fff,
  EVENT_WRAP: 0x8000,
  EVENT_FLAGS_ENABLE: 0,
  EVENT_FLAGS_DISABLE: 1,
  /** Only with EVENT_IDX. */
  EVENT_FLAGS_DESC: 2,
  MAX_SIZE: 32768,
} as const

/**
 * The descriptor ring, then driver and device event suppression, padded so that no two areas share a 64-byte cache line.
 * @param size number of descriptors, any from 1 to 32768
 * @see VIRTIO 1.3 § 2.8.10.1 "Structure Size and Alignment"
 */
export function packedRingLayout(size: number): QueueLayout {
  const descriptorAreaLength = PackedRing.DESCRIPTOR_SIZE * size
  const driverArea = alignUp(descriptorAreaLength, 64)
  const deviceArea = driverArea + 64
  return {
    descriptorArea: 0,
    driverArea,
    deviceArea,
    descriptorAreaLength,
    driverAreaLength: PackedRing.EVENT_SUPPRESSION_SIZE,
    deviceAreaLength: PackedRing.EVENT_SUPPRESSION_SIZE,
    length: deviceArea + 64,
    alignment: 64,
  }
}
