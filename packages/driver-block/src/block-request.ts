import { BlockRequest } from '@virtio-ts/spec'

const R = BlockRequest

/** What people call the request types. @see VIRTIO 1.3 § 5.2.6 "Device Operation" */
const names: ReadonlyMap<number, string> = new Map<number, string>([
  [R.T_IN, 'read'],
  [R.T_OUT, 'write'],
  [R.T_FLUSH, 'flush'],
  [R.T_GET_ID, 'device ID'],
  [R.T_GET_LIFETIME, 'lifetime'],
  [R.T_DISCARD, 'discard'],
  [R.T_WRITE_ZEROES, 'write zeroes'],
  [R.T_SECURE_ERASE, 'secure erase'],
  [R.T_ZONE_APPEND, 'zone append'],
  [R.T_ZONE_REPORT, 'zone report'],
  [R.T_ZONE_OPEN, 'zone open'],
  [R.T_ZONE_CLOSE, 'zone close'],
  [R.T_ZONE_FINISH, 'zone finish'],
  [R.T_ZONE_RESET, 'zone reset'],
  [R.T_ZONE_RESET_ALL, 'reset of all zones'],
])

export function requestName(type: number): string {
  return names.get(type) ?? `request of type ${type}`
}

/** A failed status: its error code, and what it means. */
export function statusMeaning(status: number, zoned: boolean): { readonly code: string; readonly text: string } {
  if (status === R.S_IOERR) return { code: 'block.io-error', text: 'failed on the device (VIRTIO_BLK_S_IOERR)' }
  if (status === R.S_UNSUPP)
    return { code: 'block.unsupported', text: 'is not supported by the device (VIRTIO_BLK_S_UNSUPP)' }
  if (zoned && status === R.S_ZONE_INVALID_CMD)
    return { code: 'block.zone-invalid', text: 'is not possible in that zone, or in the state it is in' }
  if (zoned && status === R.S_ZONE_UNALIGNED_WP)
    return { code: 'block.zone-unaligned', text: 'is not where the write pointer of the zone is' }
  if (zoned && status === R.S_ZONE_OPEN_RESOURCE)
    return { code: 'block.zone-open-limit', text: 'would open more zones than may be open: close one' }
  if (zoned && status === R.S_ZONE_ACTIVE_RESOURCE)
    return { code: 'block.zone-active-limit', text: 'would make more zones active than may be: finish or reset one' }
  return { code: 'block.bad-status', text: `came back with the status ${status}, which means nothing` }
}
