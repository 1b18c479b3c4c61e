import { BlockConfig } from '@virtio-ts/spec'
import type { RangeLimits } from './block-limits.ts'
import { MOST_SEGMENTS, type Segment } from './control-slot.ts'

const { SECTOR } = BlockConfig

/** A stretch of the disk, in bytes. */
export interface Part {
  readonly offset: number
  readonly length: number
}

/**
 * Cuts a transfer into what one request can carry.
 * @param most bytes, a multiple of the block size
 * @param zoneSize bytes; parts do not reach from one zone into the next. 0 for no zones
 */
export function* splitTransfer(offset: number, length: number, most: number, zoneSize: number): Generator<Part> {
  const end = offset + length
  for (let at = offset; at < end; ) {
    const zoneEnd = zoneSize > 0 ? at - (at % zoneSize) + zoneSize : end
    const part = Math.min(most, end - at, zoneEnd - at)
    yield { offset: at, length: part }
    at += part
  }
}

/**
 * Cuts a range into requests of segments, by the limits the device states. All in sectors of 512 bytes, whatever the block size.
 * @param blockSize bytes: segments begin and end with blocks
 * @see VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation": no more segments than the device takes
 */
export function* splitRange(
  { offset, length }: Part,
  limits: RangeLimits,
  blockSize: number,
  unmap: boolean,
): Generator<readonly Segment[]> {
  const unit = blockSize / SECTOR
  // A limit below a block is one that no block device means.
  const most = Math.max(unit, limits.maxSectors - (limits.maxSectors % unit))
  const perRequest = Math.min(limits.maxSegments, MOST_SEGMENTS)
  const end = (offset + length) / SECTOR
  let segments: Segment[] = []
  for (let sector = offset / SECTOR; sector < end; ) {
    const count = segmentLength(sector, end, most, limits.alignment, unit)
    segments.push({ sector, count, unmap })
    sector += count
    if (segments.length === perRequest) {
      yield segments
      segments = []
    }
  }
  if (segments.length > 0) yield segments
}

/** All that is left, or as much as may be; then cut back to where the device likes ranges to end. */
function segmentLength(sector: number, end: number, most: number, alignment: number, unit: number): number {
  if (end - sector <= most) return end - sector
  const aligned = sector + most - ((sector + most) % alignment)
  const count = aligned - sector
  return count > 0 && count % unit === 0 ? count : most
}
