import type { DmaAllocator } from '@virtio-ts/memory'
import type { DeviceTypeId } from '@virtio-ts/spec'
import type { QueueAddresses } from '@virtio-ts/virtqueue'

/** How used buffer and configuration change notifications reach the driver. */
export type InterruptMode = 'msix' | 'intx' | 'eventfd' | 'none'

/** Event descriptors behind a queue's notifications; they stay the transport's to close. */
export interface QueueDescriptors {
  /** To be written to (eight bytes, the number 1) for an available buffer notification. */
  readonly notify: number
  /** Readable after a used buffer notification, eight bytes; undefined when polled. */
  readonly used: number | undefined
}

/**
 * What the specification lets a driver do to a device, one method each, whatever the bus. The control plane is
 * asynchronous (it may be a socket), the data plane (`notify`) is not. `initialize()` is its only caller during set-up;
 * drivers never see it. Every failure rejects or throws with a `VirtioError`.
 */
export interface Transport {
  /** `pci-modern`, `pci-legacy`, `vhost-user`: for people. */
  readonly name: string
  /** Where the device is, e.g. `0000:00:04.0` or a socket's path. */
  readonly location: string
  readonly deviceType: DeviceTypeId
  /** True on the legacy interface: no FEATURES_OK, the contiguous ring layout, other header lengths. */
  readonly legacy: boolean
  /** Memory this device can reach. */
  readonly dma: DmaAllocator

  /** Feature bits the device offers. */
  deviceFeatures(): Promise<bigint>
  /** Writes the driver's feature bits. */
  acceptFeatures(features: bigint): Promise<void>
  status(): Promise<number>
  /** Writes the status byte; the caller passes every bit that is to stand. */
  setStatus(status: number): Promise<void>
  /**
   * Writes 0 and waits until the status reads 0.
   * @throws VirtioError `device.reset-timeout` when it does not within the deadline: the device may still write to
   * memory; `device.gone` when there is no device any more, and nothing will write
   */
  reset(): Promise<void>

  /** Largest size the device allows for this queue; 0 when there is no such queue. */
  queueSizeMax(index: number): Promise<number>
  /** False on buses where the device dictates the size (legacy PCI). */
  readonly queueSizeWritable: boolean
  enableQueue(index: number, size: number, addresses: QueueAddresses): Promise<void>
  /** Takes one queue out of use and waits for the device's word. Only with RING_RESET negotiated. */
  resetQueue(index: number): Promise<void>

  /** Length of the device configuration space, in bytes, as far as the bus tells. */
  readonly configLength: number
  /**
   * Reads fields consistently: repeats while the generation changes, a bounded number of times.
   * @param offset of the first byte
   * @throws VirtioError `config.bounds` beyond the space, `config.unstable` when it never stood still
   */
  readConfig(offset: number, into: Uint8Array): Promise<void>
  writeConfig(offset: number, from: Uint8Array): Promise<void>

  /**
   * Prepares notifications for `queues` queues and configuration changes; before `enableQueue`. With `none`, or where
   * the bus has nothing to offer, the driver polls.
   * @returns what was set up
   */
  setUpInterrupts(
    queues: number,
    wanted: 'auto' | InterruptMode,
  ): Promise<{ readonly mode: InterruptMode; readonly vectors: number }>
  /** Called on the event loop at a used buffer notification of this queue; spurious calls happen. */
  onUsed(index: number, listener: () => void): void
  onConfigChange(listener: () => void): void
  /** Called once when the device is gone (unplugged, its process ended). */
  onGone(listener: (reason: Error) => void): void
  /**
   * Sends an available buffer notification. Never throws: a device that is gone is told by `onGone`.
   * @param next with NOTIFICATION_DATA, where the next available buffer will be: 16 bits, for a packed ring the wrap counter on top
   */
  notify(index: number, next?: number): void
  /** What another thread needs to serve a queue by itself; undefined, or no such method, where the bus is bound to this one. */
  queueDescriptors?(index: number): QueueDescriptors | undefined

  /** Lets interrupts and the bus go. Idempotent. Memory is the caller's to free before. */
  close(): Promise<void>
}
