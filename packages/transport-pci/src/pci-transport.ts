import type { InterruptMode, Transport } from '@virtio-ts/core'
import type { DmaAllocator } from '@virtio-ts/memory'
import { type PciBar, PciCommand, PciConfig, type PciFunction } from '@virtio-ts/pci'
import {
  DeviceStatus,
  type DeviceTypeId,
  featureNames,
  hasFeature,
  ReservedFeature,
  VirtioError,
} from '@virtio-ts/spec'
import { goneError, toVirtioError } from './bus-error.ts'
import { InterruptRouter } from './interrupt-router.ts'
import { pollUntil } from './poll-until.ts'
import type { QueueAddresses, RegisterSet } from './register-set.ts'

/** What the status register, an 8-bit one, reads as where no device answers. */
const NO_DEVICE = 0xff
const NOT_ENABLED = -1

export interface PciTransportOptions {
  /** Milliseconds that the reset of the device or of a queue may take. */
  readonly resetTimeout: number
}

/**
 * A virtio device behind a PCI function, through either register set. The function stays its owner's: `close()` lets go of
 * interrupts and bus mastering, and another transport may be attached to it afterwards.
 */
export class PciTransport implements Transport {
  readonly deviceType: DeviceTypeId
  readonly #fn: PciFunction
  readonly #registers: RegisterSet
  readonly #interrupts: InterruptRouter
  readonly #resetTimeout: number
  readonly #notifyBar: PciBar
  /** By queue index; plain arrays of small integers, as `notify` reads them in the packet path. */
  readonly #notifyOffsets: number[] = []
  readonly #notifyValues: number[] = []
  readonly #goneListeners: ((reason: Error) => void)[] = []
  readonly #forgetFunction: () => void
  #accepted = 0n
  #live = false
  #gone: VirtioError | undefined
  #closing: Promise<void> | undefined
  #closed = false

  constructor(fn: PciFunction, registers: RegisterSet, deviceType: DeviceTypeId, options: PciTransportOptions) {
    this.#fn = fn
    this.#registers = registers
    this.deviceType = deviceType
    this.#resetTimeout = options.resetTimeout
    this.#notifyBar = registers.notifyBar
    this.#interrupts = new InterruptRouter(fn, registers, (error) => this.#failed(error))
    this.#forgetFunction = fn.onGone((reason) => this.#lose(goneError(fn.address, reason)))
  }

  get name(): string {
    return this.#registers.name
  }

  get location(): string {
    return this.#fn.address
  }

  get legacy(): boolean {
    return this.#registers.legacy
  }

  /** Where the bus has more than one address space, not before features were accepted: they say which one it is. */
  get dma(): DmaAllocator {
    return this.#fn.dma
  }

  get queueSizeWritable(): boolean {
    return this.#registers.queueSizeWritable
  }

  /** Less those that this transport has no means for. @see VIRTIO 1.3 § 2.2 "Feature Bits" */
  async deviceFeatures(): Promise<bigint> {
    return this.#access(() => {
      const offered = this.#registers.readFeatures()
      const word = offered & 0xffffffffn
      if (word === 0n || word === 0xffffffffn) this.#checkPresent()
      return offered & ~this.#registers.unusableFeatures
    })
  }

  async acceptFeatures(features: bigint): Promise<void> {
    this.#access(() => {
      const unusable = features & this.#registers.unusableFeatures
      if (unusable !== 0n) {
        throw new VirtioError(
          'features.unsupported',
          `${this.location}: ${this.name} cannot carry ${featureNames(unusable, ReservedFeature).join(' ')}; leave it out`,
          { device: this.location, detail: { features: `0x${unusable.toString(16)}` } },
        )
      }
      this.#chooseAddressSpace(features)
      this.#registers.writeFeatures(features)
      this.#accepted = features
    })
  }

  async status(): Promise<number> {
    return this.#access(() => {
      const status = this.#registers.readStatus()
      if (status === 0 || status === NO_DEVICE) this.#checkPresent(status)
      return status
    })
  }

  async setStatus(status: number): Promise<void> {
    if (status === 0) return this.reset()
    this.#access(() => {
      const live = (status & DeviceStatus.DRIVER_OK) !== 0 && (status & DeviceStatus.FAILED) === 0
      // The first interrupt may come before the write returns.
      this.#setLive(live)
      this.#registers.writeStatus(status)
    })
  }

  /**
   * Only a confirmed reset gives the device access to memory: one that a killed program left running would go on with queues
   * that are somebody else's memory by now.
   * @see VIRTIO 1.3 § 2.4.2 "Driver Requirements: Device Reset"
   */
  async reset(): Promise<void> {
    this.#setLive(false)
    this.#notifyOffsets.fill(NOT_ENABLED)
    this.#accepted = 0n
    this.#access(() => this.#registers.writeStatus(0))
    const confirmed = await this.#wait(() => {
      const status = this.#registers.readStatus()
      if (status === NO_DEVICE) this.#checkPresent(status)
      return status === 0
    })
    this.#access(() => {
      if (confirmed) {
        // Registers of a function that was removed may read as 0 (QEMU), which is no confirmation.
        this.#checkPresent()
        this.#fn.setBusMaster(true)
        return
      }
      throw new VirtioError(
        'device.reset-timeout',
        `${this.location}: the device did not confirm its reset within ${this.#resetTimeout} ms, so it may still write to memory; ` +
          'reset its function or power it off before its memory is used again',
        { device: this.location },
      )
    })
  }

  async queueSizeMax(index: number): Promise<number> {
    return this.#access(() => {
      const size = this.#registers.queueSize(index)
      if (size === 0 || size === 0xffff) this.#checkPresent()
      return size
    })
  }

  async enableQueue(index: number, size: number, addresses: QueueAddresses): Promise<void> {
    this.#access(() => {
      this.#registers.prepareQueue(index, size, addresses)
      const { offset, value } = this.#registers.notifyLocation(index)
      this.#interrupts.bindQueue(index)
      this.#registers.activateQueue(index, addresses)
      while (this.#notifyOffsets.length <= index) {
        this.#notifyOffsets.push(NOT_ENABLED)
        this.#notifyValues.push(0)
      }
      this.#notifyOffsets[index] = offset
      this.#notifyValues[index] = value
    })
  }

  /** @see VIRTIO 1.3 § 2.6.1.1.2 "Driver Requirements: Virtqueue Reset" */
  async resetQueue(index: number): Promise<void> {
    this.#access(() => {
      if (!hasFeature(this.#accepted, ReservedFeature.RING_RESET)) {
        throw new VirtioError(
          'queue.no-reset',
          `${this.location}: RING_RESET was not negotiated; reset the whole device`,
          {
            device: this.location,
            queue: index,
          },
        )
      }
      if (index < this.#notifyOffsets.length) this.#notifyOffsets[index] = NOT_ENABLED
      this.#registers.startQueueReset(index)
    })
    if (await this.#wait(() => this.#registers.isQueueReset(index))) return
    this.#access(() => this.#checkPresent())
    throw new VirtioError(
      'queue.reset-timeout',
      `${this.location}: the device did not confirm the reset of queue ${index} within ${this.#resetTimeout} ms, so it may still write to its memory; ` +
        'reset the whole device',
      { device: this.location, queue: index },
    )
  }

  get configLength(): number {
    return this.#gone || this.#closed ? 0 : this.#access(() => this.#registers.configLength)
  }

  async readConfig(offset: number, into: Uint8Array): Promise<void> {
    this.#access(() => {
      this.#checkConfigRange(offset, into.length)
      const stable = this.#registers.readConfig(offset, into)
      if (into.every((byte) => byte === 0xff) || into.every((byte) => byte === 0)) this.#checkPresent()
      if (stable) return
      throw new VirtioError(
        'config.unstable',
        `${this.location}: the device's configuration changed at every reading; the device is broken`,
        { device: this.location, detail: { offset, length: into.length } },
      )
    })
  }

  async writeConfig(offset: number, from: Uint8Array): Promise<void> {
    this.#access(() => {
      this.#checkConfigRange(offset, from.length)
      this.#registers.writeConfig(offset, from)
    })
  }

  /** Where the wanted mode is not to be had, the next one is set up: `msix`, `intx`, `none`. */
  async setUpInterrupts(
    queues: number,
    wanted: 'auto' | InterruptMode,
  ): Promise<{ readonly mode: InterruptMode; readonly vectors: number }> {
    return this.#access(() => this.#interrupts.setUp(queues, wanted))
  }

  /** One listener a queue; a later one takes its place. */
  onUsed(index: number, listener: () => void): void {
    this.#interrupts.onUsed(index, listener)
  }

  /** One listener; a later one takes its place. */
  onConfigChange(listener: () => void): void {
    this.#interrupts.onConfigChange(listener)
  }

  onGone(listener: (reason: Error) => void): void {
    const gone = this.#gone
    if (gone) queueMicrotask(() => listener(gone))
    else this.#goneListeners.push(listener)
  }

  /** @see VIRTIO 1.3 § 4.1.5.2.1 "Driver Requirements: Available Buffer Notifications" */
  notify(index: number, next?: number): void {
    const offset = this.#notifyOffsets[index]
    if (offset === undefined || offset === NOT_ENABLED) return
    try {
      const value = this.#notifyValues[index] as number
      if (next === undefined) this.#notifyBar.notify(offset, value, 16)
      // VIRTIO 1.3 § 4.1.5.2 "Available Buffer Notifications"
      else this.#notifyBar.notify(offset, ((next << 16) | value) >>> 0, 32)
    } catch (error) {
      this.#lose(goneError(this.location, error))
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    // A device that is still at work would lose its memory access in the middle of it.
    if (this.#live && !this.#gone) await this.reset().catch(() => {})
    this.#closed = true
    this.#setLive(false)
    this.#notifyOffsets.fill(NOT_ENABLED)
    this.#interrupts.release()
    this.#stopDma()
    this.#forgetFunction()
    this.#goneListeners.length = 0
  }

  /**
   * The legacy interface has no such bit: its devices take physical addresses.
   * @see VIRTIO 1.3 § 6.1 "Driver Requirements: Reserved Feature Bits"
   */
  #chooseAddressSpace(accepted: bigint): void {
    if (this.#fn.setAddressSpace === undefined) return
    const platform = hasFeature(accepted, ReservedFeature.ACCESS_PLATFORM)
    if (!platform && hasFeature(this.#registers.readFeatures(), ReservedFeature.ACCESS_PLATFORM)) {
      throw new VirtioError(
        'features.access-platform',
        `${this.location}: the device reaches memory through the platform's IOMMU and says so (ACCESS_PLATFORM); without that feature it is ` +
          'unknown which addresses it would take. Accept it',
        { device: this.location },
      )
    }
    this.#fn.setAddressSpace(platform ? 'bus' : 'physical')
  }

  #setLive(live: boolean): void {
    this.#live = live
    this.#interrupts.setLive(live)
  }

  #checkConfigRange(offset: number, length: number): void {
    const available = this.#registers.configLength
    if (Number.isInteger(offset) && offset >= 0 && offset + length <= available) return
    throw new VirtioError(
      'config.bounds',
      `${this.location}: bytes ${offset} to ${offset + length} of the device's configuration were asked for, and it has ${available}`,
      { device: this.location, detail: { offset, length, available } },
    )
  }

  #wait(done: () => boolean): Promise<boolean> {
    return pollUntil(() => this.#access(done), this.#resetTimeout)
  }

  /** Every access to the device: none once it is gone or let go, and whatever the bus throws becomes a VirtioError. */
  #access<Result>(body: () => Result): Result {
    if (this.#gone) throw this.#gone
    if (this.#closed)
      throw new VirtioError('transport.closed', `${this.location} was closed; attach again`, { device: this.location })
    try {
      return body()
    } catch (error) {
      throw this.#failed(error)
    }
  }

  #failed(error: unknown): VirtioError {
    const failure = toVirtioError(error, this.location)
    if (failure.code === 'device.gone') this.#lose(failure)
    return failure
  }

  /**
   * For a value that may come from nobody: all-ones is what a bus gives where no device answers, 0 what QEMU gives. A
   * function that does not decode its registers is as good as gone: only taking its memory access away still reaches it.
   */
  #checkPresent(status: number = this.#registers.readStatus()): void {
    const decoded = this.#registers.statusBar.kind === 'io' ? PciCommand.IO_SPACE : PciCommand.MEMORY_SPACE
    const present =
      !this.#fn.gone &&
      status !== NO_DEVICE &&
      this.#fn.configRead16(PciConfig.VENDOR_ID) !== PciConfig.NO_VENDOR &&
      (this.#fn.configRead16(PciConfig.COMMAND) & decoded) !== 0
    if (!present) throw goneError(this.location)
  }

  #lose(reason: VirtioError): void {
    if (this.#gone || this.#closed) return
    this.#gone = reason
    this.#setLive(false)
    this.#notifyOffsets.fill(NOT_ENABLED)
    // Its registers may be out of reach while the function is not: it must not write to memory that is given back now.
    this.#stopDma()
    this.#interrupts.release()
    queueMicrotask(() => {
      for (const listener of this.#goneListeners.splice(0)) listener(reason)
    })
  }

  #stopDma(): void {
    if (this.#fn.gone) return
    try {
      this.#fn.setBusMaster(false)
    } catch {
      // A function that cannot be reached at all does not reach memory either.
    }
  }
}
