import type { PciBar } from '@virtio-ts/pci'
import { CommonConfig, featureSet, hasFeature, ReservedFeature, VirtioError } from '@virtio-ts/spec'
import { MAX_CONFIG_READS, readFields, writeFields } from './config-fields.ts'
import type { NotifyLocation, QueueAddresses, RegisterSet } from './register-set.ts'
import type { NotifyStructure, VirtioStructure, VirtioStructures } from './virtio-structures.ts'

const FEATURE_WINDOWS = 4

/** The modern interface: structures found through capabilities. */
export class ModernRegisters implements RegisterSet {
  readonly name = 'pci-modern'
  readonly legacy = false
  readonly queueSizeWritable = true
  readonly unusableFeatures: bigint
  readonly #location: string
  readonly #bar: PciBar
  readonly #common: number
  readonly #notify: NotifyStructure
  readonly #isr: VirtioStructure
  readonly #device: VirtioStructure | undefined
  #notifyConfigData = false
  #notifyWidth = 2

  constructor(structures: VirtioStructures, location: string) {
    this.#location = location
    this.#bar = structures.common.bar
    this.#common = structures.common.offset
    this.#notify = structures.notify
    this.#isr = structures.isr
    this.#device = structures.device
    this.unusableFeatures = unusableFeatures(structures.common.length)
  }

  get notifyBar(): PciBar {
    return this.#notify.bar
  }

  get statusBar(): PciBar {
    return this.#bar
  }

  readFeatures(): bigint {
    let features = 0n
    for (let window = 0; window < FEATURE_WINDOWS; window++) {
      this.#write32(CommonConfig.DEVICE_FEATURE_SELECT, window)
      features |= BigInt(this.#read32(CommonConfig.DEVICE_FEATURE)) << BigInt(32 * window)
    }
    return features
  }

  writeFeatures(features: bigint): void {
    // Devices from before the third window ignore writes there at best: it is written only where it says something.
    const windows = features >> 64n === 0n ? 2 : FEATURE_WINDOWS
    for (let window = 0; window < windows; window++) {
      this.#write32(CommonConfig.DRIVER_FEATURE_SELECT, window)
      this.#write32(CommonConfig.DRIVER_FEATURE, Number((features >> BigInt(32 * window)) & 0xffffffffn))
    }
    this.#notifyConfigData = hasFeature(features, ReservedFeature.NOTIF_CONFIG_DATA)
    this.#notifyWidth = hasFeature(features, ReservedFeature.NOTIFICATION_DATA) ? 4 : 2
  }

  readStatus(): number {
    return this.#bar.read8(this.#common + CommonConfig.DEVICE_STATUS)
  }

  writeStatus(status: number): void {
    this.#bar.write8(this.#common + CommonConfig.DEVICE_STATUS, status)
  }

  readIsr(): number {
    return this.#isr.bar.read8(this.#isr.offset)
  }

  queueSize(index: number): number {
    // num_queues is read each time: it may grow with the features accepted (multiqueue).
    if (index >= this.#read16(CommonConfig.NUM_QUEUES)) return 0
    this.#select(index)
    return this.#read16(CommonConfig.QUEUE_SIZE)
  }

  /**
   * 64-bit fields are written as two halves, low half first.
   * @see VIRTIO 1.3 § 4.1.3.1 "Driver Requirements: PCI Device Layout"
   * @see VIRTIO 1.3 § 4.1.4.3.2 "Driver Requirements: Common configuration structure layout"
   */
  prepareQueue(index: number, size: number, addresses: QueueAddresses): void {
    const largest = this.queueSize(index)
    if (largest === 0) throw this.#queueError('queue.missing', index, 'the device has no such queue')
    if (this.#read16(CommonConfig.QUEUE_ENABLE) !== 0) {
      throw this.#queueError('queue.in-use', index, 'it is enabled already; reset the device, or the queue, first')
    }
    if (!(size >= 1 && size <= largest)) {
      throw this.#queueError(
        'queue.size-invalid',
        index,
        `${size} entries were asked for, and the device allows 1 to ${largest}`,
      )
    }
    this.#write16(CommonConfig.QUEUE_SIZE, size)
    const taken = this.#read16(CommonConfig.QUEUE_SIZE)
    if (taken !== size) {
      throw this.#queueError('queue.size-invalid', index, `the device made ${taken} entries of the ${size} asked for`)
    }
    this.#writeAddress(CommonConfig.QUEUE_DESC, addresses.descriptorArea)
    this.#writeAddress(CommonConfig.QUEUE_DRIVER, addresses.driverArea)
    this.#writeAddress(CommonConfig.QUEUE_DEVICE, addresses.deviceArea)
  }

  /** @see VIRTIO 1.3 § 4.1.4.4 "Notification structure layout" */
  notifyLocation(index: number): NotifyLocation {
    this.#select(index)
    const { offset, length, multiplier } = this.#notify
    const from = this.#read16(CommonConfig.QUEUE_NOTIFY_OFF) * multiplier
    // VIRTIO 1.3 § 4.1.4.4.1 "Device Requirements: Notification capability": with NOTIFICATION_DATA, room for four bytes.
    const width = this.#notifyWidth
    if (from + width > length || (offset + from) % width !== 0) {
      throw this.#queueError(
        'transport.notify-bounds',
        index,
        `its notifications of ${width} bytes should go to byte ${from} of a structure of ${length} bytes at ${offset}; the device is broken`,
      )
    }
    const value = this.#notifyConfigData ? this.#read16(CommonConfig.QUEUE_NOTIF_CONFIG_DATA) : index
    return { offset: offset + from, value }
  }

  activateQueue(index: number): void {
    this.#select(index)
    this.#write16(CommonConfig.QUEUE_ENABLE, 1)
  }

  startQueueReset(index: number): void {
    this.#select(index)
    this.#write16(CommonConfig.QUEUE_RESET, 1)
  }

  isQueueReset(index: number): boolean {
    this.#select(index)
    return this.#read16(CommonConfig.QUEUE_RESET) === 0 && this.#read16(CommonConfig.QUEUE_ENABLE) === 0
  }

  bindConfigVector(vector: number): number {
    this.#write16(CommonConfig.CONFIG_MSIX_VECTOR, vector)
    return this.#read16(CommonConfig.CONFIG_MSIX_VECTOR)
  }

  bindQueueVector(index: number, vector: number): number {
    this.#select(index)
    this.#write16(CommonConfig.QUEUE_MSIX_VECTOR, vector)
    return this.#read16(CommonConfig.QUEUE_MSIX_VECTOR)
  }

  get configLength(): number {
    return this.#device?.length ?? 0
  }

  /** @see VIRTIO 1.3 § 2.5.1 "Driver Requirements: Device Configuration Space" */
  readConfig(offset: number, into: Uint8Array): boolean {
    const device = this.#device
    if (!device) return into.length === 0
    for (let attempt = 0; attempt < MAX_CONFIG_READS; attempt++) {
      const before = this.#generation()
      readFields(device.bar, device.offset, offset, into)
      if (this.#generation() === before) return true
    }
    return false
  }

  writeConfig(offset: number, from: Uint8Array): void {
    if (this.#device) writeFields(this.#device.bar, this.#device.offset, offset, from)
  }

  #generation(): number {
    return this.#bar.read8(this.#common + CommonConfig.CONFIG_GENERATION)
  }

  #select(index: number): void {
    this.#write16(CommonConfig.QUEUE_SELECT, index)
  }

  #writeAddress(register: number, address: number): void {
    this.#write32(register, address % 2 ** 32)
    this.#write32(register + 4, Math.floor(address / 2 ** 32))
  }

  #read16(register: number): number {
    return this.#bar.read16(this.#common + register)
  }

  #read32(register: number): number {
    return this.#bar.read32(this.#common + register)
  }

  #write16(register: number, value: number): void {
    this.#bar.write16(this.#common + register, value)
  }

  #write32(register: number, value: number): void {
    this.#bar.write32(this.#common + register, value)
  }

  #queueError(code: string, queue: number, why: string): VirtioError {
    return new VirtioError(code, `${this.#location}: queue ${queue} cannot be set up: ${why}`, {
      device: this.#location,
      queue,
    })
  }
}

/** Two bits need registers that an older, shorter structure does not have. */
function unusableFeatures(commonLength: number): bigint {
  let bits = 0n
  if (commonLength < CommonConfig.QUEUE_NOTIF_CONFIG_DATA + 2) bits |= featureSet(ReservedFeature.NOTIF_CONFIG_DATA)
  if (commonLength < CommonConfig.QUEUE_RESET + 2) bits |= featureSet(ReservedFeature.RING_RESET)
  return bits
}
