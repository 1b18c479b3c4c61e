/**
 * Device locators (`model:net`, `qemu:virtio-net-pci;machine=pc`, `vhost-user:/run/a.sock`): how every program of this project names a
 * device, and what opens one.
 * @packageDocumentation
 */
export { alreadyBound } from './already-bound.ts'
export { benchNames, benchParts } from './bench-parts.ts'
export type { DeviceIdentity } from './device-identity.ts'
export type { BenchPlan, DeviceKind, HostFunctionUser, TakenFunction } from './device-kind.ts'
export {
  formatLocator,
  type Locator,
  type ModelLocator,
  type PciLocator,
  parseLocator,
  type QemuLocator,
  type QemuMachine,
  type QemuNetdevKind,
  type VhostUserLocator,
} from './locator.ts'
export { escapeCommas, formatOptions, type LocatorOptions, parseOptions, splitEscaped } from './locator-options.ts'
export { type OpenedBench, openBench } from './open-bench.ts'
export { checkSupported, openDevice } from './open-device.ts'
export type { AttachOptions, OpenedDevice } from './opened-device.ts'
export { checkModelOptions, modelFunctionOptions, modelOptionError } from './model-options.ts'
export { ownedPciDevice, pciDevice } from './pci-device.ts'
