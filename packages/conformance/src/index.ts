export type { AvailableChain, DeviceSide } from './device-side.ts'
export { type BlockMixOptions, blockMix } from './block-mix.ts'
export { type BlockBench, type BlockSuiteOptions, blockSuite } from './block-suite.ts'
export { type DriverBench, type DriverSuiteOptions, driverSuite } from './driver-suite.ts'
export type { NetBench, NetSuiteOptions } from './net-bench.ts'
export { netSuite } from './net-suite.ts'
export { PackedDeviceSide, type PackedDeviceSideOptions } from './packed-device-side.ts'
export { SplitDeviceSide, type SplitDeviceSideOptions } from './split-device-side.ts'
export { type OpenTransport, type TransportSuiteOptions, transportSuite } from './transport-suite.ts'
export {
  type VirtqueueSuiteOptions,
  virtqueueSuite,
} from './virtqueue-suite.ts'
export type { VirtqueueSetup, VirtqueueUnderTest } from './virtqueue-bench.ts'
