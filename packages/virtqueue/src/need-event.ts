/**
 * Whether moving an index from `old` to `next` passes the point at which the other side asked for a notification: true
 * if the entry written at index `event` is among those added, old <= event < next, on the circle of index values.
 * Only this form survives the wrap: comparing `next > event` misses one notification in every 65536 entries.
 *
 * @param mask 0xffff for rings; smaller ones let a test go through every case
 * @see VIRTIO 1.3 § 2.7.10.1 "Driver Requirements: Available Buffer Notification Suppression"
 */
export function needEvent(event: number, next: number, old: number, mask: number): boolean {
  return ((next - event - 1) & mask) < ((next - old) & mask)
}
