/**
 * Virtio over PCI: the modern interface, the legacy one, and devices that have both.
 * @packageDocumentation
 */
export type { DeviceIdentity } from './device-identity.ts'
export { type AttachOptions, VirtioPciDriver } from './virtio-pci-driver.ts'
