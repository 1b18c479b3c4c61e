import type { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceCore } from './device-core.ts'
import type { DeviceRing, UsedElement } from './device-ring.ts'
import type { DeviceSplitRing } from './device-split-ring.ts'
import type { FunctionPlan } from './pci/function-plan.ts'

/**
 * The moments at which devices differ. Each is shown to the profile before the device acts on it; fields that are not `readonly` are
 * the device's intention, for the profile to change.
 */
export interface DeviceMoments {
  /** The PCI function is being built. */
  build: FunctionPlan
  /**
   * The driver is about to reach a register: `gone` makes it and all after it read as all-ones; with `announced` false nothing but that
   * tells that the device has gone.
   */
  access: { readonly space: 'configuration' | 'bar'; gone: boolean; announced: boolean }
  /** The driver reads the offered features (once for each word it selects). */
  features: { features: bigint }
  /** The driver has said which features it accepts; `ok` decides whether FEATURES_OK stands (not on the legacy interface). */
  accept: { readonly wanted: bigint; readonly offered: bigint; readonly legacy: boolean; accepted: bigint; ok: boolean }
  'status-read': { status: number }
  'status-write': { readonly previous: number; readonly status: number }
  /** The driver resets the device; with `done` false nothing happens. */
  reset: { done: boolean }
  'queue-count': { count: number }
  'queue-select': { readonly previous: number; queue: number }
  /** The driver reads queue_size. */
  'queue-size': { readonly queue: number; size: number }
  /** The driver writes queue_size; `accepted` is what stands. */
  'queue-resize': { readonly queue: number; readonly requested: number; readonly maximum: number; accepted: number }
  /** The driver writes 0 to the legacy Queue Address: the whole device is reset, or only the ring let go. */
  'queue-unmap': { readonly queue: number; resetDevice: boolean }
  'queue-reset': { readonly queue: number; done: boolean }
  'notify-offset': { readonly queue: number; offset: number }
  /** The driver maps a vector; `queue` is -1 for configuration changes. */
  vector: { readonly queue: number; readonly requested: number; vector: number }
  /** A device configuration read is answered. `change` alters the space as the device would: generation and all. */
  'config-read': {
    readonly offset: number
    readonly width: 1 | 2 | 4
    readonly config: Uint8Array
    value: number
    readonly change: (offset: number, bytes: Uint8Array) => void
  }
  generation: { generation: number }
  /** An available buffer notification has arrived. */
  notify: { readonly queue: number; ignored: boolean }
  /** Used elements are about to be written: what is in `elements` then is. */
  used: { readonly ring: DeviceRing; readonly elements: UsedElement[] }
  /** The used ring's index is about to be written: a packed ring has none. */
  publish: { readonly ring: DeviceSplitRing; readonly previous: number; index: number }
  /** An interrupt is about to be raised, `times` times; `queue` is -1 for configuration changes. */
  interrupt: { readonly queue: number; times: number }
  /** A network device looks at a packet of the driver; with `consume` false the packet stays where it is, and stops the queue. */
  transmit: { readonly chain: DescriptorChain; readonly headerLength: number; consume: boolean }
  /** A network device looks for room for a packet; with `usable` false the packet is dropped and the buffers stay. */
  'receive-buffer': {
    readonly chain: DescriptorChain
    readonly headerLength: number
    readonly mergeable: boolean
    usable: boolean
  }
  /** A network device has written a packet: header and frame lie in the buffers, `written` is told to the driver, buffer by buffer. */
  receive: {
    readonly ring: DeviceRing
    readonly chains: readonly DescriptorChain[]
    readonly headerLength: number
    readonly written: number[]
  }
  /** A console device is about to send a control message, `copies` times. */
  'console-control': { bytes: Uint8Array; copies: number }
  /** A network device has carried out a command. */
  control: { readonly class: number; readonly command: number; ack: number }
  /** A block device has carried out a request, and is about to answer. */
  'block-request': {
    readonly ring: DeviceRing
    readonly type: number
    readonly sector: number
    /** Bytes for the answer. */
    readonly room: number
    status: number
    /** Bytes that go in front of the status byte. */
    answer: Uint8Array
    /** With false the status byte stays as the driver left it. */
    writesStatus: boolean
    /** What the driver is told was written. */
    written: number
  }
}

export type DevicePoint = keyof DeviceMoments

/** A way for a device to behave. Keeps state of its own: one profile, one device. */
export interface DeviceProfile {
  readonly name: string
  /** ISR status bits of a configuration change. @defaultValue 3, as QEMU and VirtualBox have it */
  readonly configurationIsr?: number
  /** The vector a queue has before the driver maps one. @defaultValue none */
  defaultVector?(queue: number): number
  /** @param device undefined for a ring that stands alone */
  on?<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point], device: DeviceCore | undefined): void
}
