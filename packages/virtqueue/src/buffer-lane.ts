import type { DeviceAddress } from '@virtio-ts/memory'
import type { UsedBatch } from './virtqueue.ts'

/** Equal buffers that never move, one for each place of a lane: that of place i begins at `address + i * stride`. Bytes. */
export interface LaneRow {
  readonly address: DeviceAddress
  readonly stride: number
  /** Of each buffer. */
  readonly length: number
  /** Places: at most the queue's size. */
  readonly count: number
}

/**
 * A virtqueue that takes nothing but a row of buffers that never move, so that little has to be written for each: their places stand for
 * them. A buffer belongs to the device from `add` or `renew` until `reclaim` or `pop` has counted it, or until the device's reset is confirmed.
 * When the queue breaks, is handed over or reset, its lane is of no use any more: it takes and gives nothing.
 */
interface Lane {
  readonly count: number
  /** Buffers the device has, or gets at the next `publish`. */
  readonly inFlight: number
  /** Makes everything added so far available, as `Virtqueue.publish` does. */
  publish(): void
}

/** A lane of buffers that the device reads. */
export interface ReadableLane extends Lane {
  /** Places that `reserve` can give. */
  readonly free: number
  /** Takes a place whose buffer nobody uses: the one that came back first. @returns -1 when there is none */
  reserve(): number
  /** Always true in a lane that is of no use any more: it knows of no place. */
  isReserved(place: number): boolean
  /** Gives a reserved place back unused. @throws RangeError when it is not reserved */
  cancel(place: number): void
  /**
   * Adds a reserved place's buffer.
   * @param length bytes of it for the device to read
   * @returns false, and the place stays reserved, when the lane is of no use any more
   * @throws RangeError when the place is not reserved, or the length below 1 or above the buffer's
   */
  add(place: number, length: number): boolean
  /** The same with a buffer that is not the place's own: for this once it takes its place. */
  addElsewhere(place: number, address: DeviceAddress, length: number): boolean
  /** Takes back all that the device has used: those places are free. What it says it has written is not looked at. @returns how many */
  reclaim(): number
  /** `reclaim` that tells, for up to the batch's capacity of buffers, the places as cookies. @returns how many */
  pop(batch: UsedBatch): number
}

/** A lane of buffers that the device writes. */
export interface WritableLane extends Lane {
  /**
   * Adds the buffers of so many places that are not with the device: those that came back first, at the beginning from place 0 on.
   * @throws RangeError when there are not so many
   */
  renew(count: number): void
  /** `Virtqueue.popUsed` for the lane: cookies are places. */
  pop(batch: UsedBatch): number
}
