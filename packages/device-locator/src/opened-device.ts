import type { Transport } from '@virtio-ts/core'
import type { DeviceIdentity } from './device-identity.ts'

export interface AttachOptions {
  /** Whether to wait for a device that is not there yet. Of no effect on a bus where devices do not come back. */
  readonly wait: boolean
  /** Gives up waiting. */
  readonly signal: AbortSignal
}

/** A device somebody opened for us, how to reach it, and how to let go of what carries it. */
export interface OpenedDevice {
  readonly identity: DeviceIdentity
  /** True where a device that is gone can come back: a back-end that is started again. */
  readonly reconnects: boolean
  /** Whether queues of its transport can be given to other threads. */
  readonly handsOverQueues: boolean
  /** A transport to the device: once for each time its driver is opened. */
  attach(options: AttachOptions): Promise<Transport>
  release(): Promise<void>
}
