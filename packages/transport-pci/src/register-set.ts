import type { Transport } from '@virtio-ts/core'
import type { PciBar } from '@virtio-ts/pci'

export type QueueAddresses = Parameters<Transport['enableQueue']>[2]

/** Where and with what value a queue's available buffer notifications are written, 16 bits wide. */
export interface NotifyLocation {
  readonly offset: number
  readonly value: number
}

/**
 * The registers of one of the two interfaces, each method one thing done to the device, synchronously. What is the same on both -
 * waiting, interrupts, the device going away - is `PciTransport`'s.
 */
export interface RegisterSet {
  readonly name: 'pci-modern' | 'pci-legacy'
  readonly legacy: boolean
  readonly queueSizeWritable: boolean
  readonly notifyBar: PciBar
  /** The BAR that holds the status register. */
  readonly statusBar: PciBar
  /** Feature bits that cannot be used through these registers, even if the device offers them. */
  readonly unusableFeatures: bigint

  readFeatures(): bigint
  writeFeatures(features: bigint): void
  readStatus(): number
  writeStatus(status: number): void
  /** Reading it lowers the INTx line. */
  readIsr(): number

  /** 0 when there is no such queue. */
  queueSize(index: number): number
  /**
   * Checks, and where the interface has registers for it writes, everything about a queue but what `activateQueue` does.
   * @throws VirtioError `queue.missing`, `queue.in-use`, `queue.size-invalid`, `queue.address-invalid`
   */
  prepareQueue(index: number, size: number, addresses: QueueAddresses): void
  /** @throws VirtioError `transport.notify-bounds` when the device puts it outside its notification structure */
  notifyLocation(index: number): NotifyLocation
  /** Hands the prepared queue to the device. */
  activateQueue(index: number, addresses: QueueAddresses): void
  startQueueReset(index: number): void
  isQueueReset(index: number): boolean

  /** Both return what the device took the vector for: the same number, or NO_VECTOR when it refused. */
  bindConfigVector(vector: number): number
  bindQueueVector(index: number, vector: number): number

  readonly configLength: number
  /** @returns false when the fields never stood still */
  readConfig(offset: number, into: Uint8Array): boolean
  writeConfig(offset: number, from: Uint8Array): void
}
