import type { NetDriver, NetOffloads } from '@virtio-ts/driver-net'

/** The feature by which a device is allowed to leave this work to us. A missing checksum can always be completed by the driver. */
const featureOf = {
  tso4: 'GUEST_TSO4',
  tso6: 'GUEST_TSO6',
  ecn: 'GUEST_ECN',
  ufo: 'GUEST_UFO',
} as const

/**
 * Features that one side of a bridge must do without, because the other side's device cannot be sent what they let in: who accepts
 * a packet to be segmented has to have somebody who segments it.
 * @param taken what the other side's device takes from its driver
 */
export function unbridgeable(taken: NetOffloads): string[] {
  return Object.entries(featureOf).flatMap(([offload, feature]) =>
    taken[offload as keyof typeof featureOf] ? [] : [feature],
  )
}

/** Whether everything that `from` may deliver, `to` can send on. */
export function fits(from: NetDriver, to: NetDriver): boolean {
  const { receive } = from.offloads
  const { transmit } = to.offloads
  return Object.keys(featureOf).every((name) => {
    const offload = name as keyof typeof featureOf
    return !receive[offload] || transmit[offload]
  })
}
