import type { DeviceDescription } from '@virtio-ts/core'
import type { DeviceIdentity } from '@virtio-ts/device-locator'
import type { CaptureSink } from '../capture/packet-tap.ts'

/** One TAP interface, as `netd show` prints it. */
export interface TapDescription {
  readonly name: string
  readonly up: boolean
  /** Names of what the kernel may leave to the device: `checksum tso4`. */
  readonly offloads: readonly string[]
}

/** One device and its driver: the chain from bus to driver as plain data. */
export interface PortDescription extends DeviceIdentity {
  /** The locator it was opened with. */
  readonly locator: string
  /** `running`; `recovering` while a failed device is brought up again; `stopping`. */
  readonly state: 'running' | 'recovering' | 'stopping'
  /** What `VirtioDevice.describe()` says; queue counters may be left out. */
  readonly device: Omit<DeviceDescription, 'queues'> & {
    readonly queues: readonly { readonly name: string; readonly index: number; readonly size: number }[]
  }
  readonly net: {
    /** `52:54:00:12:34:56` */
    readonly mac: string
    readonly linkUp: boolean
    readonly mtu: number
  }
}

/** The chain of a session, plain data: it travels as JSON. With neither `tap` nor `peer` it ends at the driver, as in `netd demo`. */
export interface SessionDescription extends PortDescription {
  readonly tap?: TapDescription
  /** The second device of a bridge. */
  readonly peer?: PortDescription
}

/** What a running session lets others see. It may live in another thread, which answers later, or not at all: then it rejects. */
export interface Observable {
  describe(): SessionDescription | Promise<SessionDescription>
  /** Counters, whole numbers that never fall; flat names in lower case: `rx_packets`. See `isLevel` for the exception. */
  stats(): Record<string, number> | Promise<Record<string, number>>
  /** Hands every packet to `sink` from now on. Returns a function that stops that; idempotent. */
  attachCapture(sink: CaptureSink): () => void
}

/** Whether a number of `stats()` is a level that goes up and down, and not a counter: `tx_in_flight`, `queue_pairs`. */
export function isLevel(name: string): boolean {
  return name.endsWith('_in_flight') || name.endsWith('queue_pairs')
}
