import type { QueueAddresses } from './virtqueue.ts'

/**
 * A virtqueue as plain data, on its way to another thread (`postMessage`, `workerData`): what `OwnedVirtqueue.transfer` gives and
 * `adoptVirtqueue` takes. The memory stays the owner's, who alone frees it.
 */
export interface VirtqueueTransfer {
  readonly format: 'split' | 'packed'
  readonly index: number
  readonly size: number
  readonly addresses: QueueAddresses
  /** Device address of the indirect tables; 0 where there are none. */
  readonly tablesAddress: number
  /** Buffers an indirect table holds; 0 where INDIRECT_DESC was not negotiated. */
  readonly tableCapacity: number
  readonly eventIdx: boolean
  /** The contiguous layout of the legacy interface; split rings only. */
  readonly legacy: boolean
  /** First index of both rings; split rings only. */
  readonly startIndex: number
  /** Whether used buffer notifications are asked for, as `disableUsedNotifications` left it. */
  readonly usedNotifications: boolean
  readonly trust: 'strict' | 'tolerant'
  readonly device?: string
  readonly generation?: number
}
