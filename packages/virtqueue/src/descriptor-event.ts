/**
 * Whether making `count` descriptors available passes the one at which the device asked for a notification.
 *
 * A place in a packed ring is a position on a circle of twice its size: the offset, plus the size while the wrap counter is 0. The
 * wrap counter tells this lap's descriptor from the last lap's, which has the same offset.
 *
 * @param event offset in the lower 15 bits, wrap counter in bit 15, as the device wrote it
 * @param from position of the first of these descriptors
 * @param size of the ring
 * @see VIRTIO 1.3 § 2.8.10 "Driver and Device Event Suppression"
 */
export function descriptorEvent(event: number, from: number, count: number, size: number): boolean {
  const offset = event & 0x7fff
  // No descriptor has this offset: better a notification too many than none ever.
  if (offset >= size) return true
  const position = (event & 0x8000) !== 0 ? offset : offset + size
  const ahead = position >= from ? position - from : position - from + 2 * size
  return ahead < count
}
