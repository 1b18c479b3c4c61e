/**
 * A PCI function behind methods. This entry holds the contract and what reads configuration space: the capability list, MSI-X,
 * base address registers. Buses that implement the contract are QEMU's bench (`@virtio-ts/qemu`), the software models
 * (`@virtio-ts/device-models`), and `./vfio`, `./sysfs`.
 * @packageDocumentation
 */
export { type PciCapability, PciCapabilityId, walkCapabilities } from './capability-list.ts'
export { findMsix, isMsixEnabled, Msix, type MsixCapability } from './msix-capability.ts'
export { formatAddress, type PciAddress, parseAddress } from './pci-address.ts'
export { PciCommand, PciConfig, type PciConfigAccess, type PciConfigReader, PciStatus } from './pci-config.ts'
export {
  type DmaAddressSpace,
  type InterruptVector,
  type PciBar,
  PciError,
  type PciErrorCode,
  type PciFunction,
} from './pci-function.ts'
export { type ProbedBar, probeBars } from './probe-bars.ts'
