import { NetFeature } from '@virtio-ts/spec'
import type { NetFeatures } from './net-spec.ts'

/** Work one side leaves to the other, in one direction. */
export interface NetOffloads {
  /** Packets may come without their transport checksum. */
  readonly checksum: boolean
  /** TCP over IPv4 longer than the MTU, to be segmented. */
  readonly tso4: boolean
  readonly tso6: boolean
  /** Such TCP may carry congestion notification. */
  readonly ecn: boolean
  /** UDP longer than the MTU, to be fragmented. */
  readonly ufo: boolean
}

export const noOffloads: NetOffloads = { checksum: false, tso4: false, tso6: false, ecn: false, ufo: false }

/** What the driver may leave to the device. */
export function transmitOffloads(features: NetFeatures): NetOffloads {
  return {
    checksum: features.has('CSUM'),
    tso4: features.has('HOST_TSO4'),
    tso6: features.has('HOST_TSO6'),
    ecn: features.has('HOST_ECN'),
    ufo: features.has('HOST_UFO'),
  }
}

/** What the device may leave to the driver. */
export function receiveOffloads(features: NetFeatures): NetOffloads {
  return {
    checksum: features.has('GUEST_CSUM'),
    tso4: features.has('GUEST_TSO4'),
    tso6: features.has('GUEST_TSO6'),
    ecn: features.has('GUEST_ECN'),
    ufo: features.has('GUEST_UFO'),
  }
}

/** Whether packets longer than the MTU can come. */
export function hasSegmentation(offloads: NetOffloads): boolean {
  return offloads.tso4 || offloads.tso6 || offloads.ufo
}

/** The low half of `offloads` in the command; no bit of the high half is ever set. */
export function receiveOffloadMask(offloads: NetOffloads): number {
  return (
    (Number(offloads.checksum) << NetFeature.GUEST_CSUM) |
    (Number(offloads.tso4) << NetFeature.GUEST_TSO4) |
    (Number(offloads.tso6) << NetFeature.GUEST_TSO6) |
    (Number(offloads.ecn) << NetFeature.GUEST_ECN) |
    (Number(offloads.ufo) << NetFeature.GUEST_UFO)
  )
}
