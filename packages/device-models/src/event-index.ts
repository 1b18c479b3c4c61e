/**
 * Whether moving an index from `before` to `after` passes the entry that the other side asked to be told about: an entry with
 * index `event` was written. All three are free-running and wrap at `mask` + 1.
 * VIRTIO 1.3 § 2.7.7.2 "Device Requirements: Used Buffer Notification Suppression"
 */
export function passesEvent(before: number, after: number, event: number, mask: number = 0xffff): boolean {
  return ((after - event - 1) & mask) < ((after - before) & mask)
}
