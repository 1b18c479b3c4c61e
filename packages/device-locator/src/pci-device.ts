import type { PciFunction } from '@virtio-ts/pci'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import type { OpenedDevice } from './opened-device.ts'

/**
 * The PCI function as a device of a program. Its IDs are read once: an access costs a round trip on some buses, and a function can
 * go away.
 */
export function pciDevice(fn: PciFunction): Omit<OpenedDevice, 'release'> {
  const { bus, address } = fn
  return {
    identity: { function: { bus, address, vendor: fn.configRead16(0), device: fn.configRead16(2) } },
    reconnects: false,
    // Notifications are register accesses, and on the bench those are messages on one socket.
    handsOverQueues: false,
    attach: () => VirtioPciDriver.attach(fn),
  }
}

/** A PCI function that belongs to nothing else: releasing the device closes it. */
export function ownedPciDevice(fn: PciFunction): OpenedDevice {
  return { ...pciDevice(fn), release: () => fn.close() }
}
