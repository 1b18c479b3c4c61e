import type { NetDriver } from '@virtio-ts/driver-net'
import type { PciFunction } from '@virtio-ts/pci'
import type { SessionDescription, TapDescription } from '../control/observable.ts'
import { formatMac } from '../packets/ethernet-frame.ts'

/** Bus, address and IDs of a function. Read once: an access costs a round trip on some buses, and a function can go away. */
export function identifyFunction(fn: PciFunction): SessionDescription['function'] {
  return { bus: fn.bus, address: fn.address, vendor: fn.configRead16(0), device: fn.configRead16(2) }
}

/** The live chain from function to TAP as plain data, for `netd show` and `netd demo`. */
export function describeSession(
  locator: string,
  state: SessionDescription['state'],
  identity: SessionDescription['function'],
  driver: NetDriver,
  tap?: TapDescription,
): SessionDescription {
  return {
    locator,
    state,
    function: identity,
    device: driver.describe(),
    net: { mac: formatMac(driver.mac), linkUp: driver.link.up, mtu: driver.mtu },
    ...(tap ? { tap } : {}),
  }
}
