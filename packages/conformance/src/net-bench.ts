import type { NetDriver, NetHeaderFields, NetHeaderLength, NetOptions } from '@virtio-ts/driver-net'
/** A driver on a device of the caller's choosing, and the network's side of it. */
export interface NetBench {
  readonly driver: NetDriver
  /** A frame from the network; `header` is what is left to the driver, for benches that can pass it on. */
  deliver(frame: Uint8Array, header?: Partial<NetHeaderFields>): void
  /** Frames of the driver, and nobody else's, since the last call, as the wire has them: checksums complete, large packets cut up. */
  sent(): readonly Uint8Array[]
  setLink?(up: boolean): void | Promise<void>
  /** Has the device ask for an announcement. @returns whether it is still waiting for the answer, once the promise is there */
  announce?(): void | Promise<void>
  announcePending?(): boolean | Promise<boolean>
  /** What the device found the driver do against the specification. */
  violations?(): readonly unknown[]
  /** Bytes of the device's memory that were not given back. */
  allocatedBytes?(): number
  /** Ends what the driver stands on; called after `driver.close()`. */
  dispose?(): Promise<void>
}

export interface NetSuiteOptions {
  /** A new device with a driver on it; each test has its own. */
  open(options?: NetOptions): Promise<NetBench>
  /** `deliver` passes headers on. */
  readonly headers?: boolean
  /** Frames that may be on their way to the driver at a time without loss. @defaultValue 100 */
  readonly burst?: number
  /** Go through every feature one by one, which takes its time. */
  readonly everyFeature?: boolean
  /** Bytes of the header expected. */
  readonly headerLength?: NetHeaderLength
}
