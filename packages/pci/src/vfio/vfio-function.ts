import type { DmaAllocator } from '@virtio-ts/memory'
import { Errno, SystemError } from '@virtio-ts/native'
import type { AddressSpaceMemory } from '../address-space-memory.ts'
import { type PciCapability, walkCapabilities } from '../capability-list.ts'
import { ConfigFile } from '../config-file.ts'
import type { Decoding } from '../decoding.ts'
import { GoneNotice } from '../gone-notice.ts'
import { findMsix, type MsixCapability } from '../msix-capability.ts'
import { PciCommand, PciConfig } from '../pci-config.ts'
import { type DmaAddressSpace, type InterruptVector, type PciBar, PciError, type PciFunction } from '../pci-function.ts'
import { isFullyOn } from '../power-state.ts'
import type { ReleaseStack } from '../release-stack.ts'
import { VfioIrq, VfioRegion } from './vfio-abi.ts'
import { VfioBars } from './vfio-bars.ts'
import type { VfioDevice } from './vfio-device.ts'
import { VfioInterrupts } from './vfio-interrupts.ts'
import type { VfioKernel } from './vfio-kernel.ts'

export interface VfioFunctionParts {
  readonly kernel: VfioKernel
  readonly device: VfioDevice
  readonly memory: AddressSpaceMemory
  /** What gives descriptors and mappings back; the function goes on adding to it, and releases it. */
  readonly releases: ReleaseStack
}

/** A PCI function through VFIO. Once it is gone, or closed, its registers read as all-ones. */
export class VfioFunction implements PciFunction {
  readonly address: string
  readonly bus = 'vfio'
  readonly #device: VfioDevice
  readonly #memory: AddressSpaceMemory
  readonly #releases: ReleaseStack
  readonly #config: ConfigFile
  readonly #capabilities: readonly PciCapability[]
  readonly #bars: VfioBars
  readonly #interrupts: VfioInterrupts
  readonly #notice = new GoneNotice()
  readonly #decoding: Decoding = { memory: true, present: true }
  #closed = false

  constructor(parts: VfioFunctionParts) {
    const { kernel, device, releases } = parts
    this.address = device.address
    this.#device = device
    this.#memory = parts.memory
    this.#releases = releases
    const onFailure = (errno: number): void => this.#failed(errno)
    this.#config = new ConfigFile(device.file(device.region(VfioRegion.CONFIG)), onFailure, () => this.#refresh())
    this.#capabilities = this.#read(() => walkCapabilities(this.#config)) ?? []
    const msix: MsixCapability | undefined = this.#read(() => findMsix(this.#config, this.#capabilities))
    this.#bars = new VfioBars({
      kernel,
      device,
      config: this.#config,
      msix,
      decoding: this.#decoding,
      releases,
      onFailure,
    })
    this.#interrupts = new VfioInterrupts(device, msix?.tableSize ?? 0)
    releases.add(() => this.#interrupts.close())
    this.#config.changeCommand(PciCommand.IO_SPACE | PciCommand.MEMORY_SPACE, PciCommand.BUS_MASTER)
    releases.add(() => this.setBusMaster(false))
    this.#refresh()
    this.#interrupts.notice(VfioIrq.REQUEST, () =>
      this.#lose('the kernel takes it away: it is being unplugged, or unbound from vfio-pci'),
    )
    this.#interrupts.notice(VfioIrq.ERROR, () =>
      this.#lose('it reported an error that cannot be corrected (PCI Express AER)'),
    )
  }

  configRead8(offset: number): number {
    return this.#decoding.present ? this.#config.configRead8(offset) : 0xff
  }
  configRead16(offset: number): number {
    return this.#decoding.present ? this.#config.configRead16(offset) : 0xffff
  }
  configRead32(offset: number): number {
    return this.#decoding.present ? this.#config.configRead32(offset) : 0xffff_ffff
  }
  configWrite8(offset: number, value: number): void {
    if (this.#decoding.present) this.#config.configWrite8(offset, value)
  }
  configWrite16(offset: number, value: number): void {
    if (this.#decoding.present) this.#config.configWrite16(offset, value)
  }
  configWrite32(offset: number, value: number): void {
    if (this.#decoding.present) this.#config.configWrite32(offset, value)
  }

  bar(index: number): PciBar {
    this.#checkPresent()
    return this.#bars.get(index)
  }

  get msixVectors(): number {
    return this.#decoding.present ? this.#interrupts.msixVectors : 0
  }

  enableMsix(count: number): readonly InterruptVector[] {
    this.#checkPresent()
    return this.#interrupts.enableMsix(count)
  }

  disableMsix(): void {
    if (this.#decoding.present) this.#interrupts.disableMsix()
  }

  intx(): InterruptVector | undefined {
    this.#checkPresent()
    return this.#interrupts.intx()
  }

  get dma(): DmaAllocator {
    return this.#memory.dma
  }

  setAddressSpace(space: DmaAddressSpace): void {
    this.#checkPresent()
    this.#memory.set(space)
  }

  setBusMaster(enabled: boolean): void {
    if (!this.#decoding.present) return
    const bit = PciCommand.BUS_MASTER
    this.#config.changeCommand(enabled ? bit : 0, enabled ? 0 : bit)
  }

  get gone(): boolean {
    return this.#notice.reason !== undefined
  }

  onGone(listener: (reason: Error) => void): () => void {
    return this.#notice.listen(listener)
  }

  /** Holds this thread up while it lasts, a tenth of a second for most. Interrupts and bus master are off afterwards. */
  async reset(): Promise<void> {
    this.#checkPresent()
    if (!this.#device.canReset) throw this.#noReset()
    this.#interrupts.release()
    try {
      this.#device.reset()
    } catch (error) {
      throw error instanceof SystemError && error.code === 'EINVAL' ? this.#noReset(error) : error
    }
    // The kernel restores the command register as it was.
    this.setBusMaster(false)
    this.#refresh()
  }

  /** The memory stays for as long as a region of it is out. @throws what could not be given back, after everything else was */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#notice.clear()
    const [failure] = this.#letGo()
    this.#memory.retire()
    if (failure !== undefined && !this.gone) throw failure
  }

  /**
   * The kernel waits until the function's descriptors are closed, and whoever removes the device waits for the kernel: so
   * all of them go now, the device's access to memory first. Drivers give their memory back later.
   */
  #lose(why: string): void {
    if (this.gone || this.#closed) return
    const reason = new PciError('pci.gone', `${this.address} is gone: ${why}; open it again once it is back`)
    this.#letGo()
    this.#memory.retire()
    this.#notice.give(reason)
  }

  #letGo(): Error[] {
    const failures = this.#releases.release()
    this.#decoding.present = false
    return failures
  }

  #failed(errno: number): void {
    if (errno !== Errno.ENODEV && errno !== Errno.ENXIO) return
    this.#lose('the kernel no longer knows it')
  }

  /** After every write to configuration space: an access to mapped registers that do not answer would end this process. */
  #refresh(): void {
    const on = (this.#config.configRead16(PciConfig.COMMAND) & PciCommand.MEMORY_SPACE) !== 0
    this.#decoding.memory = on && isFullyOn(this.#config, this.#capabilities)
  }

  /** What a broken capability list hides is not there; the transport, which reads it too, says what is wrong with it. */
  #read<Result>(body: () => Result): Result | undefined {
    try {
      return body()
    } catch (error) {
      if (error instanceof PciError) return undefined
      throw error
    }
  }

  #checkPresent(): void {
    if (this.#notice.reason !== undefined)
      throw new PciError('pci.gone', this.#notice.reason.message, { cause: this.#notice.reason })
    if (this.#closed) throw new PciError('pci.gone', `${this.address} has been closed; open it again`)
  }

  #noReset(cause?: Error): PciError {
    return new PciError(
      'pci.no-reset',
      `${this.address} has no reset of its own that VFIO could use: reset the device by its own means, or close the function and open it again`,
      { cause },
    )
  }
}
