export type { AvailableChain, DeviceSide } from './device-side.ts'
export { SplitDeviceSide, type SplitDeviceSideOptions } from './split-device-side.ts'
export { type OpenTransport, transportSuite, type TransportSuiteOptions } from './transport-suite.ts'
export { type DriverBench, driverSuite, type DriverSuiteOptions } from './driver-suite.ts'
export { type NetBench, netSuite, type NetSuiteOptions } from './net-suite.ts'
export {
  type VirtqueueSetup,
  virtqueueSuite,
  type VirtqueueSuiteOptions,
  type VirtqueueUnderTest,
} from './virtqueue-suite.ts'
