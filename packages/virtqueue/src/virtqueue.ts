import type { DeviceAddress, DmaRegion } from '@virtio-ts/memory'
import type { VirtioError } from '@virtio-ts/spec'
import type { LaneRow, ReadableLane, WritableLane } from './buffer-lane.ts'
import type { ChainBuilder } from './chain-builder.ts'
import type { VirtqueueTransfer } from './virtqueue-transfer.ts'

/** Device addresses of a virtqueue's three areas. @see VIRTIO 1.3 § 2.6 "Virtqueues" */
export interface QueueAddresses {
  readonly descriptorArea: DeviceAddress
  readonly driverArea: DeviceAddress
  readonly deviceArea: DeviceAddress
}

/**
 * Used buffers of one poll, as columns: entry i has `cookies[i]`, the integer given when the chain was added, and
 * `written[i]`, the bytes the device wrote - never more than the chain's device-writable capacity.
 */
export interface UsedBatch {
  readonly cookies: Int32Array
  readonly written: Uint32Array
}

export function usedBatch(capacity: number): UsedBatch {
  return { cookies: new Int32Array(capacity), written: new Uint32Array(capacity) }
}

/** Counters since the queue was made; numbers only, cheap enough to keep always. */
export interface VirtqueueStats {
  readonly added: number
  readonly used: number
  readonly notificationsSent: number
  readonly notificationsSuppressed: number
  /** Used elements whose length exceeded the chain's capacity and was cut (tolerant devices). */
  readonly lengthsClamped: number
  readonly inFlight: number
}

/**
 * The driver half of one virtqueue, for packet paths: integers only, nothing allocated per call. Buffers belong to the device from
 * `add*` until `popUsed` returns their cookie, or until the device's reset is confirmed.
 *
 * Nothing the device writes makes a method throw or reach outside its own arrays: a violation breaks the queue
 * (`broken`, told once to the `onBroken` listener), after which `add*` refuses and `popUsed` returns 0.
 */
export interface Virtqueue {
  readonly index: number
  /** Number of descriptors. */
  readonly size: number
  readonly addresses: QueueAddresses
  /** Chains that can be added for certain, if each takes one descriptor. */
  readonly free: number
  readonly inFlight: number
  readonly broken: VirtioError | undefined
  readonly stats: VirtqueueStats
  /** Largest number of buffers one chain may have. */
  readonly maxChain: number

  /**
   * Adds a chain of one device-readable buffer.
   * @param cookie a 32-bit signed integer that `popUsed` gives back
   * @returns false when there is no room or the queue is broken
   * @throws RangeError when `length` is below 1 or above 2^32 - 1
   */
  addReadable(address: DeviceAddress, length: number, cookie: number): boolean
  /** Adds a chain of one device-writable buffer, like `addReadable`. */
  addWritable(address: DeviceAddress, length: number, cookie: number): boolean
  /**
   * Adds a chain of several buffers, in an indirect table where that was negotiated.
   * @returns false when there is no room or the queue is broken; the builder keeps its content either way
   * @throws RangeError when the chain is empty or has more than `maxChain` buffers
   */
  addChain(chain: ChainBuilder, cookie: number): boolean
  /**
   * Turns a fresh queue, before its first chain, into a lane of buffers that never move and that the device reads: from then on it takes
   * and gives its buffers through the lane alone (`add*` return false, `popUsed` 0), until `reset`. Writes nothing to the ring yet.
   * @throws RangeError for a row that does not fit the queue
   * @throws VirtioError `ring.in-use` when chains were added, or it has a lane already
   */
  openReadableLane(row: LaneRow): ReadableLane
  /** The same with buffers that the device writes. */
  openWritableLane(row: LaneRow): WritableLane
  /** Makes everything added so far available, and notifies the device unless it asked not to be. */
  publish(): void
  /** Notifies the device whatever it asked: what a watchdog does for a queue that has stood still. */
  notifyAlways(): void
  /**
   * Takes up to the batch's capacity of used buffers. Unless notifications were disabled, calling this until it returns 0 leaves
   * none unannounced. Buffers used before a violation are still returned by the call that finds it: `broken` is set and its
   * listeners are called before that call returns.
   * @returns how many
   */
  popUsed(batch: UsedBatch): number
  /** True if `popUsed` would return something; one read of device-written memory. */
  hasUsed(): boolean
  /** Asks the device not to send used buffer notifications (a hint: some may still come). */
  disableUsedNotifications(): void
  /**
   * Asks for a notification at the next used buffer. @returns true if buffers were used meanwhile: poll again, there
   * may be no notification for those
   */
  enableUsedNotifications(): boolean
  /** Breaks the queue from outside: the device failed or is gone. */
  fail(reason: VirtioError): void
  /**
   * Calls `listener` when the queue breaks: at once if it is broken already. What a listener throws becomes an uncaught exception and
   * does not reach the queue's caller.
   */
  onBroken(listener: (reason: VirtioError) => void): void
}

/** A virtqueue and its memory, for whoever sets it up and takes it down. */
export interface OwnedVirtqueue extends Virtqueue {
  /** The stretches of memory it shares with the device: the ring, then the indirect tables if there are any. Empty once retired. */
  readonly memory: readonly DmaRegion[]
  /** Another thread has the queue: `stats`, `free` and `inFlight` here know nothing of what it does. */
  readonly transferred: boolean
  /**
   * Hands the queue over to another thread, as data for `adoptVirtqueue`. From then on this object takes and gives no packets:
   * `add*` returns false, `popUsed` and `free` 0. The memory stays its own: `fail`, `reset`, `release` and `quarantine` work, once the
   * other thread has stopped using the queue. `reset` takes the queue back.
   * @throws VirtioError `ring.in-use` when chains were added already or another thread has it; `ring.released`; what it broke with
   */
  transfer(): VirtqueueTransfer
  /**
   * Takes every buffer back and starts afresh on the same memory. Only after the device has confirmed its reset, or the
   * reset of this queue: until then it may still write.
   * @returns cookies of the chains that the device never returned: their buffers are the driver's again
   * @throws VirtioError `ring.released` after `release` or `quarantine`
   * @see VIRTIO 1.3 § 2.6.1.1.2 "Driver Requirements: Virtqueue Reset"
   */
  reset(): Int32Array
  /** Gives the memory back: only after a confirmed reset. The queue is of no use afterwards. Idempotent. */
  release(): void
  /** Sets the memory aside for ever, since the reset was not confirmed and the device may still write. Idempotent. */
  quarantine(): void
}
