/**
 * A server for the Network Block Device protocol: any disk becomes one that qemu-img, nbdcopy, nbd-client and the like can use. It knows no
 * device: a disk is an `NbdExport`.
 * @packageDocumentation
 */
export { NbdErrno, NbdError, type NbdErrnoName } from './nbd-error.ts'
export type { NbdExport, NbdExportInfo, NbdSession, NbdZeroOptions } from './nbd-export.ts'
export { NbdServer, type NbdServerOptions } from './nbd-server.ts'
export { type ZeroRun, zeroRuns } from './zero-runs.ts'
