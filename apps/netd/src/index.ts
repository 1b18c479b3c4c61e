/**
 * The parts of netd that other programs can use: device locators and captures. The program itself is `bin/netd.js`.
 * @packageDocumentation
 */
export { headerComment } from './capture/header-comment.ts'
export type { CaptureDirection, CaptureSink, PacketTap } from './capture/packet-tap.ts'
export { PcapngCapture, type PcapngCaptureOptions } from './capture/pcapng-capture.ts'
export { ExitCode } from './command-line/exit-code.ts'
export { NetdError, type NetdErrorDetails } from './command-line/netd-error.ts'
export type {
  DeviceIdentity,
  Observable,
  PortDescription,
  SessionDescription,
  TapDescription,
} from './control/observable.ts'
export {
  formatLocator,
  type Locator,
  type ModelLocator,
  type PciLocator,
  parseLocator,
  type QemuLocator,
  type QemuMachine,
  type QemuNetdevKind,
  type SupportedLocator,
  type VhostUserLocator,
} from './locator.ts'
export type { LocatorOptions } from './locator-options.ts'
