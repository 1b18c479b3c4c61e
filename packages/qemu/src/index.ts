/**
 * QEMU without a guest as a bench for PCI devices: `QemuBench` starts a machine whose processor sleeps, and gives out its devices
 * as `PciFunction`s. For tests, and for trying drivers without hardware or privileges.
 * @packageDocumentation
 */
export type { RescanResult } from './function-directory.ts'
export { QemuBench } from './qemu-bench.ts'
export type { MachineName, QemuBenchOptions } from './qemu-bench-options.ts'
export { QemuError, type QemuErrorCode } from './qemu-error.ts'
export type { QemuFunction } from './qemu-function.ts'
export { Qmp, type QueriedPciFunction, type RxFilter, type VirtioQueueStatus, type VirtioStatus } from './qmp.ts'
export { type QemuVersion, QmpClient, type QmpWait } from './qmp-client.ts'
export type { QmpEventData, QmpEvents } from './qmp-events.ts'
export { Qtest, type QtestOptions, type QtestSpace, type QtestWidth } from './qtest.ts'
export { QtestRecorder } from './qtest-recorder.ts'
export { StreamPeer } from './stream-peer.ts'
