import type { DeviceDescription } from '@virtio-ts/core'
import type { PacketTap } from '../capture/packet-tap.ts'

/** One TAP interface, as `netd show` prints it. */
export interface TapDescription {
  readonly name: string
  readonly up: boolean
  /** Names of what the kernel may leave to the device: `checksum tso4`. */
  readonly offloads: readonly string[]
}

/** The chain PciFunction -> VirtioPciDriver -> NetDriver -> TAP of one device, plain data: it travels as JSON. */
export interface SessionDescription {
  /** The locator it was opened with. */
  readonly locator: string
  /** `running`; `recovering` while a failed device is brought up again; `stopping`. */
  readonly state: 'running' | 'recovering' | 'stopping'
  readonly function: {
    /** What carries it: `qemu`, `model`. */
    readonly bus: string
    /** `0000:00:04.0` */
    readonly address: string
    /** PCI vendor and device ID. */
    readonly vendor: number
    readonly device: number
  }
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
  /** Left out where there is none, as in `netd demo`. */
  readonly tap?: TapDescription
}

/** What a running session lets others see. Every method is called on the main thread, between two turns of its event loop. */
export interface Observable {
  describe(): SessionDescription
  /** Counters, whole numbers that never fall; flat names in lower case: `rx_packets`. See `isLevel` for the exception. */
  stats(): Record<string, number>
  /** Hands every packet to `sink` from now on. Returns a function that stops that; idempotent. */
  attachCapture(sink: PacketTap): () => void
}

/** Whether a number of `stats()` is a level that goes up and down, and not a counter: `tx_in_flight`. */
export function isLevel(name: string): boolean {
  return name.endsWith('_in_flight')
}
