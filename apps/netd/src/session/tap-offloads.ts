import type { NetDriver } from '@virtio-ts/driver-net'
import type { TapOffloads } from '@virtio-ts/tap'

/** Bytes of the largest frame that segmentation offload lets the kernel hand over: 65535 of IP and an Ethernet header with a VLAN tag. */
const largestOffloadedFrame = 65535 + 18

/**
 * What the kernel may leave to the device on frames it sends: exactly what was negotiated for transmit. In the other direction
 * nothing is set: the kernel always takes checksummed and segmented frames whose header says so.
 */
export function tapOffloads(driver: NetDriver): TapOffloads {
  const { checksum, tso4, tso6, ecn, ufo } = driver.offloads.transmit
  return { checksum, tso4, tso6, ecn, ufo }
}

/** Bytes of the largest frame the TAP can hand over with these offloads and this MTU. */
export function largestFrame(offloads: TapOffloads, mtu: number): number {
  return offloads.tso4 || offloads.tso6 || offloads.ufo ? largestOffloadedFrame : mtu + 18
}

export function offloadNames(offloads: TapOffloads): string[] {
  return Object.entries(offloads)
    .filter(([, on]) => on)
    .map(([name]) => name)
}
