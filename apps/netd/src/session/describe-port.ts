import type { NetDriver } from '@virtio-ts/driver-net'
import type { DeviceIdentity } from '@virtio-ts/device-locator'
import type { PortDescription } from '../control/observable.ts'
import { formatMac } from '../packets/ethernet-frame.ts'

/** The live chain from bus to driver as plain data, for `netd show` and `netd demo`. */
export function describePort(
  locator: string,
  state: PortDescription['state'],
  identity: DeviceIdentity,
  driver: NetDriver,
): PortDescription {
  return {
    locator,
    state,
    ...identity,
    device: driver.describe(),
    net: { mac: formatMac(driver.mac), linkUp: driver.link.up, mtu: driver.mtu },
  }
}
