/**
 * The driver half of virtqueues. `Virtqueue` is the packet-path view: integers in, integers out, nothing allocated.
 * `RequestQueue` puts promises on top of it. Nothing a device writes makes either of them throw or reach outside its own arrays.
 *
 * Assumptions:
 * - the processor is little-endian, as rings are (legacy rings have its byte order anyway);
 * - one thread uses a queue: the only other party is the device (`transfer` and `adoptVirtqueue` hand it to another thread);
 * - `Atomics.store` and `Atomics.load` are full barriers on memory that is not a SharedArrayBuffer too (true of V8);
 * - the regions an allocator hands out stay mapped, and start on a multiple of 4 bytes, until they are freed;
 * - whoever calls `reset` or `release` knows that the device has confirmed a reset.
 * @packageDocumentation
 */
export { type AdoptVirtqueueOptions, adoptVirtqueue } from './adopt-virtqueue.ts'
export type { LaneRow, ReadableLane, WritableLane } from './buffer-lane.ts'
export { ChainBuilder } from './chain-builder.ts'
export type { MappedMemory } from './mapped-queue-memory.ts'
export { PackedVirtqueue } from './packed-virtqueue.ts'
export type { PackedVirtqueueOptions } from './packed-virtqueue-options.ts'
export {
  type RequestBuffer,
  type RequestChain,
  type RequestOptions,
  RequestQueue,
  type RequestQueueOptions,
  type SubmittedRequest,
} from './request-queue.ts'
export { SplitVirtqueue } from './split-virtqueue.ts'
export type { SplitVirtqueueOptions } from './split-virtqueue-options.ts'
export {
  type OwnedVirtqueue,
  type QueueAddresses,
  type UsedBatch,
  usedBatch,
  type Virtqueue,
  type VirtqueueStats,
} from './virtqueue.ts'
export type { VirtqueueTransfer } from './virtqueue-transfer.ts'
