/**
 * The contracts between driver, virtqueue and bus, and the one initialisation sequence.
 * @packageDocumentation
 */
export { DeviceConfig } from './device-config.ts'
export type { DriverSpec, QueueSpec } from './driver-spec.ts'
export { initialize } from './initialize.ts'
export { NegotiatedFeatures } from './negotiated-features.ts'
export type { QueueFile, TransferredQueue } from './transfer-queue.ts'
export type { InterruptMode, QueueDescriptors, Transport } from './transport.ts'
export type { DeviceDescription, InitializeOptions, VirtioDevice } from './virtio-device.ts'
export {
  type AdoptVirtqueueOptions,
  adoptVirtqueue,
  ChainBuilder,
  type LaneRow,
  type MappedMemory,
  type QueueAddresses,
  type ReadableLane,
  type RequestBuffer,
  type RequestChain,
  type RequestOptions,
  RequestQueue,
  type SubmittedRequest,
  type UsedBatch,
  usedBatch,
  type Virtqueue,
  type VirtqueueStats,
  type VirtqueueTransfer,
  type WritableLane,
} from '@virtio-ts/virtqueue'
