import type { DmaRegion } from '@virtio-ts/memory'
import type { VirtioError } from '@virtio-ts/spec'
import type { RequestQueue, Virtqueue, VirtqueueStats } from '@virtio-ts/virtqueue'
import type { DeviceConfig } from './device-config.ts'
import type { NegotiatedFeatures } from './negotiated-features.ts'
import type { TransferredQueue } from './transfer-queue.ts'
import type { InterruptMode } from './transport.ts'

/** What `netd show` prints of a device. */
export interface DeviceDescription {
  readonly transport: string
  readonly location: string
  readonly deviceType: number
  readonly legacy: boolean
  readonly interrupts: InterruptMode
  readonly vectors: number
  readonly generation: number
  readonly features: readonly string[]
  readonly queues: readonly ({
    readonly name: string
    readonly index: number
    readonly size: number
    /** Its counters follow; where another thread has the queue only if it has told them (`reportQueueStats`). */
  } & Partial<VirtqueueStats>)[]
}

/**
 * An initialised device, DRIVER_OK set: what a driver works with. Made by `initialize()`; closed once, which resets the
 * device, waits for the confirmation, and only then frees memory (or sets it aside where the reset was not confirmed).
 */
export interface VirtioDevice<Feature extends string = string, Queue extends string = string> extends AsyncDisposable {
  readonly location: string
  readonly legacy: boolean
  /** Counts initialisations in this process; completions of an older generation never surface. */
  readonly generation: number
  readonly features: NegotiatedFeatures<Feature>
  readonly config: DeviceConfig
  readonly interrupts: InterruptMode
  hasQueue(name: Queue): boolean
  /** The packet-path view of a queue. @throws RangeError when the queue was not set up */
  queue(name: Queue): Virtqueue
  /** The request view of a queue: promises instead of batches. One of the two views owns a queue. */
  requestQueue(name: Queue): RequestQueue
  /**
   * Hands a queue to another thread, which uses it with `adoptVirtqueue`: before its first chain. From then on `queue(name)` takes and
   * gives no packets here, and `onUsed` is for the other thread to see to (`descriptors.used`). The device stays this thread's: it
   * passes on faults to the other thread and takes them from it (`queue(name).fail`), and closes once the other thread has stopped.
   * @throws VirtioError `queue.bound-to-thread` when the transport or the memory cannot be shared, or the queue has its request view;
   * `ring.in-use` when chains were added, or another thread has it already
   */
  transferQueue(name: Queue): TransferredQueue
  /** Tells what a queue that another thread has counts by now, for `describe()`. */
  reportQueueStats(name: Queue, stats: VirtqueueStats): void
  /** Calls `listener` on the event loop at a used buffer notification; spurious calls happen. Not with `interrupts: 'none'`. */
  onUsed(name: Queue, listener: () => void): void
  /** After a configuration change notification, unless it is NEEDS_RESET, which is a fault. */
  onConfigChange(listener: () => void): void
  /** Once: a queue broke, the device set NEEDS_RESET, or it is gone. Every queue has been failed by then. */
  onFault(listener: (reason: VirtioError) => void): void
  readonly fault: VirtioError | undefined
  /** In polled mode: looks at the status byte, so that NEEDS_RESET and configuration changes are noticed. */
  checkStatus(): Promise<void>
  /**
   * Takes one queue out of use, waits for the device's word, and puts it back empty; its requests reject with `queue.reset`.
   * @returns the cookies of the chains that were outstanding: their buffers are the driver's again
   * @throws VirtioError `queue.reset-unavailable` without RING_RESET, `queue.reset-timeout` when the device does not confirm
   * @see VIRTIO 1.3 § 2.6.1 "Virtqueue Reset"
   */
  resetQueue(name: Queue): Promise<Int32Array>
  /** Memory the device can reach, zeroed, freed by `close()`. */
  allocate(length: number, alignment?: number): DmaRegion
  describe(): DeviceDescription
  /** Idempotent; later calls wait for the first. */
  close(): Promise<void>
}

export interface InitializeOptions {
  /** Names of features (of the device or reserved ones) never to accept. @throws RangeError for a name nobody knows */
  readonly withoutFeatures?: readonly string[]
  /** Descriptors per queue at most, a power of two. */
  readonly queueSize?: number
  /** `none` is polled mode. @defaultValue 'auto' */
  readonly interrupts?: 'auto' | InterruptMode
  /**
   * `strict`: a used length beyond a chain's capacity breaks the queue. `tolerant`: it is cut and counted, as devices
   * in the field need it. @defaultValue 'strict' for VERSION_1 devices, 'tolerant' for legacy ones
   */
  readonly trust?: 'strict' | 'tolerant'
}
