/**
 * Driver for the virtio block device: reads and writes, copied or in place, discards, write cache, zones; promises and streams.
 * @packageDocumentation
 */
export type { BlockLifetime } from './block-commands.ts'
export { type BlockDescription, BlockDriver } from './block-driver.ts'
export type { BlockEvents } from './block-events.ts'
export type { BlockLimits, BlockTopology, RangeLimits, ZonedLimits } from './block-limits.ts'
export type { BlockOptions, DirectBuffers, DirectControl, RequestControl } from './block-options.ts'
export { type BlockDriverFeature, type BlockFeatures, type BlockQueue, blockSpec } from './block-spec.ts'
export type { BlockCache } from './block-state.ts'
export type { ReadableOptions, WritableOptions } from './block-streams.ts'
export type { Bytes } from './byte-list.ts'
export type { Zone, ZoneState, ZoneType } from './zone.ts'
