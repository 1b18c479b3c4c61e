import type { DmaAllocator } from '@virtio-ts/memory'
import type { DeviceArea } from './device-area.ts'

/** What a split virtqueue needs to know; the ring features are what device and driver negotiated. */
export interface SplitVirtqueueOptions {
  readonly index: number
  /** Number of descriptors: a power of two up to 32768. */
  readonly size: number
  readonly allocator: DmaAllocator
  /** The contiguous layout of the legacy interface. */
  readonly legacy: boolean
  /** INDIRECT_DESC was negotiated. */
  readonly indirect: boolean
  /**
   * Buffers an indirect table holds; longer chains take several descriptors instead. Each descriptor has its own table:
   * size x this x 16 bytes. @defaultValue 16, or the queue's size where that is less
   */
  readonly indirectCapacity?: number
  /** EVENT_IDX was negotiated. */
  readonly eventIdx: boolean
  /** `strict`: a used length beyond the chain's capacity breaks the queue. `tolerant`: it is cut and counted. */
  readonly trust: 'strict' | 'tolerant'
  /** Sends an available buffer notification. Must not throw. */
  readonly notify: () => void
  /** For error messages and details. */
  readonly device?: string
  readonly generation?: number
  /** First index of both rings, as vhost-user's back-ends can be told. @defaultValue 0 */
  readonly startIndex?: number
  /** @internal Another thread's queue: its memory is taken as it is, not initialised. */
  readonly adopted?: { readonly usedNotifications: boolean }
  /** @internal Tests give another view of the memory that the device writes. */
  readonly mapDeviceArea?: (bytes: Uint8Array, offset: number, size: number) => DeviceArea
}
