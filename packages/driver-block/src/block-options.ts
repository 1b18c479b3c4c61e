import type { InitializeOptions } from '@virtio-ts/core'
import type { RequestBuffer } from '@virtio-ts/core'

export interface BlockOptions extends InitializeOptions {
  /** Request queues at most, where the device has several. @defaultValue 4 */
  readonly maxQueues?: number
  /** Requests with the device at a time, from 1 to 1024; more wait their turn. @defaultValue 256 */
  readonly maxInFlight?: number
  /** Bytes of device memory for data of callers that bring none, at most, but enough for two blocks; taken as needed. @defaultValue 4 MiB */
  readonly stagingMemory?: number
  /**
   * Milliseconds between two looks after requests whose notification may have got lost, and at the device's state; 0 for none.
   * @defaultValue 1000, polled 100
   */
  readonly watchdog?: number
}

export interface RequestControl {
  /**
   * Gives up waiting: the promise rejects with the signal's reason. What the device has of it already may be carried out all the same.
   */
  readonly signal?: AbortSignal
}

export interface DirectControl extends RequestControl {
  /**
   * Called once, when the device no longer owns the buffers: before the promise resolves, but maybe long after it was rejected by a signal
   * or a fault; then when the device has given them back, or its reset is confirmed. Never when it is not.
   */
  readonly onReleased?: () => void
}

/** Device memory of the caller's: whole regions, or stretches of them. */
export type DirectBuffers = RequestBuffer | readonly RequestBuffer[]

export const DEFAULT_IN_FLIGHT = 256
export const DEFAULT_STAGING: number = 4 * 1024 * 1024

/** @throws RangeError */
export function checkBlockOptions({ maxQueues, maxInFlight, stagingMemory, watchdog }: BlockOptions): void {
  check('maxQueues', maxQueues, 1, 65535)
  check('maxInFlight', maxInFlight, 1, 1024)
  check('stagingMemory', stagingMemory, 4096, 2 ** 32)
  check('watchdog', watchdog, 0, 2 ** 31 - 1)
}

function check(name: string, value: number | undefined, least: number, most: number): void {
  if (value === undefined || (Number.isInteger(value) && value >= least && value <= most)) return
  throw new RangeError(`${name} is ${value}: it must be an integer from ${least} to ${most}`)
}
