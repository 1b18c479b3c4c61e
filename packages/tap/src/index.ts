/**
 * TAP interfaces of Linux: the end of the wire at which the operating system is. Each frame comes with the header of
 * virtio-net, so that checksums and segmentation can be passed on to a device instead of being done here.
 * @packageDocumentation
 */
export type { TapState } from './link-events.ts'
export { MAX_TAP_READ, Tap, type TapOptions } from './tap.ts'
export { TapError, type TapErrorCode } from './tap-error.ts'
export type { TapOffloads } from './tap-offloads.ts'
export { TapQueue } from './tap-queue.ts'
