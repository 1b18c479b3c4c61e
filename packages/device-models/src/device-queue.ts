import { VirtioPci } from '@virtio-ts/spec'
import type { DeviceRing, RingPosition } from './device-ring.ts'

/** One virtqueue's registers, as the driver has set them. */
export class DeviceQueue {
  readonly index: number
  readonly maximum: number
  size: number
  enabled = false
  /** Device addresses. */
  descriptorArea = 0
  driverArea = 0
  deviceArea = 0
  /** Page number of the legacy Queue Address; 0 when the queue was not set up that way. */
  legacyPage = 0
  vector: number = VirtioPci.NO_VECTOR
  /** Reads as 1 in queue_reset until the reset is done. */
  resetting = false
  ring: DeviceRing | undefined
  /** Where a ring that was in use before goes on; undefined for a new one. */
  position: RingPosition | undefined

  constructor(index: number, maximum: number) {
    this.index = index
    this.maximum = maximum
    this.size = maximum
  }

  /** VIRTIO 1.3 § 2.6.1.1.1 "Device Requirements: Virtqueue Reset": any state goes back to the default. */
  reset(): void {
    this.size = this.maximum
    this.enabled = false
    this.descriptorArea = 0
    this.driverArea = 0
    this.deviceArea = 0
    this.legacyPage = 0
    this.resetting = false
    this.position = undefined
    this.stop()
  }

  /** Has whoever works with the ring let go of it. */
  stop(): void {
    this.ring?.stop()
    this.ring = undefined
  }
}
