import { isMsixEnabled, type MsixCapability, type PciBar, type PciFunction } from '@virtio-ts/pci'
import { LegacyConfig, splitRingLayout, VirtioError, VirtioPci } from '@virtio-ts/spec'
import { MAX_CONFIG_READS, readFields, writeFields } from './config-fields.ts'
import type { NotifyLocation, QueueAddresses, RegisterSet } from './register-set.ts'

/** Bytes of a page in the Queue Address register. */
const PAGE_SIZE = 2 ** LegacyConfig.QUEUE_ADDRESS_SHIFT
const FEATURE_BITS = 32n

/**
 * The legacy interface: a block of registers at the start of BAR 0, an I/O BAR.
 * @see VIRTIO 1.3 § 4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout"
 */
export class LegacyRegisters implements RegisterSet {
  readonly name = 'pci-legacy'
  readonly legacy = true
  readonly queueSizeWritable = false
  readonly unusableFeatures: bigint = ((1n << 128n) - 1n) & ~((1n << FEATURE_BITS) - 1n)
  readonly notifyBar: PciBar
  readonly #fn: PciFunction
  readonly #msix: MsixCapability | undefined
  /** What was bound for configuration changes last. */
  #configVector: number = VirtioPci.NO_VECTOR

  /** @throws VirtioError `transport.no-legacy` when BAR 0 is no I/O BAR, `pci.bar-too-small` when it ends too early */
  constructor(fn: PciFunction, msix: MsixCapability | undefined) {
    const bar = fn.bar(0)
    if (bar.kind !== 'io') {
      throw new VirtioError(
        'transport.no-legacy',
        `${fn.address} has no legacy interface: its BAR 0 is a memory BAR, and the legacy registers are in an I/O BAR; use interface: 'modern'`,
        { device: fn.address },
      )
    }
    const needed = msix ? LegacyConfig.DEVICE_CONFIG_MSIX : LegacyConfig.DEVICE_CONFIG
    if (bar.length < needed) {
      throw new VirtioError(
        'pci.bar-too-small',
        `${fn.address}: BAR 0 has ${bar.length} bytes, and the legacy registers take ${needed}; the device is broken`,
        { device: fn.address },
      )
    }
    this.#fn = fn
    this.#msix = msix
    this.notifyBar = bar
  }

  get statusBar(): PciBar {
    return this.notifyBar
  }

  readFeatures(): bigint {
    return BigInt(this.notifyBar.read32(LegacyConfig.DEVICE_FEATURES))
  }

  writeFeatures(features: bigint): void {
    this.notifyBar.write32(LegacyConfig.DRIVER_FEATURES, Number(features))
  }

  readStatus(): number {
    return this.notifyBar.read8(LegacyConfig.DEVICE_STATUS)
  }

  writeStatus(status: number): void {
    this.notifyBar.write8(LegacyConfig.DEVICE_STATUS, status)
  }

  readIsr(): number {
    return this.notifyBar.read8(LegacyConfig.ISR_STATUS)
  }

  queueSize(index: number): number {
    return this.#select(index) ? this.notifyBar.read16(LegacyConfig.QUEUE_SIZE) : 0
  }

  /** Only checks: the size is the device's, and writing the address is what enables the queue. */
  prepareQueue(index: number, size: number, addresses: QueueAddresses): void {
    const dictated = this.queueSize(index)
    if (dictated === 0) throw this.#queueError('queue.missing', index, 'the device has no such queue')
    if (this.notifyBar.read32(LegacyConfig.QUEUE_ADDRESS) !== 0) {
      throw this.#queueError('queue.in-use', index, 'it has an address already; reset the device first')
    }
    if (size !== dictated) {
      throw this.#queueError(
        'queue.size-invalid',
        index,
        `${size} entries were asked for, and a legacy device dictates its ${dictated}`,
      )
    }
    this.#checkAddresses(index, size, addresses)
  }

  notifyLocation(index: number): NotifyLocation {
    return { offset: LegacyConfig.QUEUE_NOTIFY, value: index }
  }

  /** @see VIRTIO 1.3 § 4.1.5.1.3.1 "Legacy Interface: A Note on Virtqueue Configuration" */
  activateQueue(index: number, addresses: QueueAddresses): void {
    this.#select(index)
    this.notifyBar.write32(LegacyConfig.QUEUE_ADDRESS, addresses.descriptorArea / PAGE_SIZE)
  }

  startQueueReset(index: number): void {
    throw this.#queueError(
      'queue.no-reset',
      index,
      'the legacy interface cannot reset a single queue; reset the device',
    )
  }

  isQueueReset(): boolean {
    return false
  }

  /**
   * Not every device makes room for the vector registers when MSI-X is switched on (VirtualBox 7 does not). What is in
   * their place then is device configuration, which a write would change; but no vector is bound after a reset, so
   * anything else than NO_VECTOR there tells.
   */
  bindConfigVector(vector: number): number {
    if (!this.#hasVectorRegisters()) return VirtioPci.NO_VECTOR
    const before = this.notifyBar.read16(LegacyConfig.CONFIG_MSIX_VECTOR)
    if (before !== VirtioPci.NO_VECTOR && before !== this.#configVector) return VirtioPci.NO_VECTOR
    this.notifyBar.write16(LegacyConfig.CONFIG_MSIX_VECTOR, vector)
    this.#configVector = this.notifyBar.read16(LegacyConfig.CONFIG_MSIX_VECTOR)
    return this.#configVector
  }

  bindQueueVector(index: number, vector: number): number {
    if (!this.#hasVectorRegisters() || !this.#select(index)) return VirtioPci.NO_VECTOR
    this.notifyBar.write16(LegacyConfig.QUEUE_MSIX_VECTOR, vector)
    return this.notifyBar.read16(LegacyConfig.QUEUE_MSIX_VECTOR)
  }

  get configLength(): number {
    return this.notifyBar.length - this.#configOffset()
  }

  /** @see VIRTIO 1.3 § 2.5.4 "Legacy Interface: Device Configuration Space" */
  readConfig(offset: number, into: Uint8Array): boolean {
    const base = this.#configOffset()
    const earlier = new Uint8Array(into.length)
    readFields(this.notifyBar, base, offset, earlier)
    for (let attempt = 1; attempt < MAX_CONFIG_READS; attempt++) {
      readFields(this.notifyBar, base, offset, into)
      if (into.every((byte, i) => byte === earlier[i])) return true
      earlier.set(into)
    }
    return false
  }

  writeConfig(offset: number, from: Uint8Array): void {
    writeFields(this.notifyBar, this.#configOffset(), offset, from)
  }

  /**
   * Device configuration moves when MSI-X is switched on, and back when it is switched off. The enable bit itself is
   * asked, not our memory of it: a program that was killed may have left it set.
   */
  #configOffset(): number {
    return this.#hasVectorRegisters() ? LegacyConfig.DEVICE_CONFIG_MSIX : LegacyConfig.DEVICE_CONFIG
  }

  /** The vector registers exist only while MSI-X is on: a write at their place would go to device configuration otherwise. */
  #hasVectorRegisters(): boolean {
    return this.#msix !== undefined && isMsixEnabled(this.#fn, this.#msix)
  }

  /** @returns false when the device did not take the index: VirtualBox 4 keeps showing the queue selected before */
  #select(index: number): boolean {
    this.notifyBar.write16(LegacyConfig.QUEUE_SELECT, index)
    return this.notifyBar.read16(LegacyConfig.QUEUE_SELECT) === index
  }

  #checkAddresses(index: number, size: number, { descriptorArea, driverArea, deviceArea }: QueueAddresses): void {
    const layout = splitRingLayout(size, true)
    const contiguous =
      driverArea === descriptorArea + layout.driverArea && deviceArea === descriptorArea + layout.deviceArea
    if (!contiguous) {
      throw this.#queueError(
        'queue.address-invalid',
        index,
        'its areas do not follow each other as the legacy layout has them',
      )
    }
    const page = descriptorArea / PAGE_SIZE
    // Page 0 would make the device reset itself (QEMU) or forget the queue.
    if (Number.isInteger(page) && page >= 1 && page < 2 ** 32) return
    throw this.#queueError(
      'queue.address-invalid',
      index,
      `its device address ${descriptorArea} must be a multiple of ${PAGE_SIZE}, not 0, and below 2^44; give it memory there`,
    )
  }

  #queueError(code: string, queue: number, why: string): VirtioError {
    const device = this.#fn.address
    return new VirtioError(code, `${device}: queue ${queue} cannot be set up: ${why}`, { device, queue })
  }
}
