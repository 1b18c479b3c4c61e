import type { DmaAllocator } from '@virtio-ts/memory'
import { Errno } from '@virtio-ts/native'
import type { AddressSpaceMemory } from '../address-space-memory.ts'
import { type PciCapability, walkCapabilities } from '../capability-list.ts'
import { ConfigFile } from '../config-file.ts'
import type { Decoding } from '../decoding.ts'
import type { DeviceDirectory } from '../device-directory.ts'
import { GoneNotice } from '../gone-notice.ts'
import { findMsix, isMsixEnabled, Msix } from '../msix-capability.ts'
import { PciCommand, PciConfig } from '../pci-config.ts'
import { type DmaAddressSpace, type InterruptVector, type PciBar, PciError, type PciFunction } from '../pci-function.ts'
import { isFullyOn } from '../power-state.ts'
import type { ReleaseStack } from '../release-stack.ts'
import { SysfsBars } from './sysfs-bars.ts'
import type { SysfsSystem } from './sysfs-system.ts'
import { UioLine } from './uio-line.ts'

export interface SysfsFunctionParts {
  readonly system: SysfsSystem
  readonly directory: DeviceDirectory
  /** Of the file `config`, open. */
  readonly configFd: number
  readonly memory: AddressSpaceMemory
  readonly releases: ReleaseStack
}

/**
 * A PCI function through sysfs. No MSI-X: nobody would take the messages; INTx with uio_pci_generic, otherwise the driver polls.
 * Once it is gone, or closed, its registers read as all-ones.
 */
export class SysfsFunction implements PciFunction {
  readonly address: string
  readonly bus = 'sysfs'
  readonly msixVectors = 0
  readonly #memory: AddressSpaceMemory
  readonly #releases: ReleaseStack
  readonly #directory: DeviceDirectory
  readonly #config: ConfigFile
  readonly #capabilities: readonly PciCapability[]
  readonly #bars: SysfsBars
  readonly #line: UioLine | undefined
  readonly #notice = new GoneNotice()
  readonly #decoding: Decoding = { memory: true, present: true }
  #closed = false

  constructor({ system, directory, configFd, memory, releases }: SysfsFunctionParts) {
    this.address = directory.address
    this.#directory = directory
    this.#memory = memory
    this.#releases = releases
    const onFailure = (errno: number): void => this.#failed(errno)
    const file = {
      readAt: (into: Uint8Array, offset: number) => system.readAt(configFd, into, offset),
      writeAt: (from: Uint8Array, offset: number) => system.writeAt(configFd, from, offset),
    }
    this.#config = new ConfigFile(file, onFailure, () => this.#refresh())
    this.#capabilities = this.#readCapabilities()
    this.#bars = new SysfsBars(system, directory, this.#decoding, releases, onFailure)
    this.#line = UioLine.open(system, directory, this.#config, () => this.#failed(Errno.ENODEV))
    if (this.#line !== undefined) releases.add(() => this.#line?.close())
    // A line that nobody serves would be one that the kernel switches off for everybody who shares it.
    this.#config.changeCommand(
      PciCommand.IO_SPACE | PciCommand.MEMORY_SPACE | PciCommand.INTX_DISABLE,
      PciCommand.BUS_MASTER,
    )
    releases.add(() => this.setBusMaster(false))
    this.disableMsix()
    this.#refresh()
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

  enableMsix(count: number): never {
    throw new PciError(
      'pci.msix-unavailable',
      `${this.address} cannot have ${count} MSI-X vectors: sysfs has nobody to send them to; use INTx (bind uio_pci_generic), polling, or VFIO`,
    )
  }

  /** A kernel driver, or a program that was killed, may have left it on. */
  disableMsix(): void {
    if (!this.#decoding.present) return
    try {
      const msix = findMsix(this.#config, this.#capabilities)
      if (msix === undefined || !isMsixEnabled(this.#config, msix)) return
      const at = msix.offset + Msix.MESSAGE_CONTROL
      this.#config.configWrite16(at, this.#config.configRead16(at) & ~Msix.CONTROL_ENABLE)
    } catch (error) {
      if (!(error instanceof PciError)) throw error
    }
  }

  intx(): InterruptVector | undefined {
    this.#checkPresent()
    return this.#line?.vector
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

  /** Through the file `reset`, which the kernel has for functions that it can reset. Interrupts and bus master are off afterwards. */
  async reset(): Promise<void> {
    this.#checkPresent()
    if (!this.#directory.write('reset', '1')) {
      throw new PciError(
        'pci.no-reset',
        `${this.address} has no reset of its own that the kernel could use (no file \`reset\` in sysfs, or it refused): reset the device by its own means`,
      )
    }
    this.#config.changeCommand(PciCommand.INTX_DISABLE, PciCommand.BUS_MASTER)
    this.disableMsix()
    this.#refresh()
  }

  /** The memory stays for as long as a region of it is out. @throws what could not be given back, after everything else was */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#notice.clear()
    const [failure] = this.#letGo()
    if (failure !== undefined && !this.gone) throw failure
  }

  #letGo(): Error[] {
    const failures = this.#releases.release()
    this.#decoding.present = false
    this.#memory.retire()
    return failures
  }

  #failed(errno: number): void {
    if (this.gone || this.#closed || (errno !== Errno.ENODEV && errno !== Errno.ENXIO)) return
    const reason = new PciError(
      'pci.gone',
      `${this.address} is gone: the kernel no longer knows it, it was unplugged; open it again once it is back`,
    )
    this.#decoding.present = false
    this.#letGo()
    this.#notice.give(reason)
  }

  /** What is switched off in the command register does not answer. */
  #refresh(): void {
    const on = (this.#config.configRead16(PciConfig.COMMAND) & PciCommand.MEMORY_SPACE) !== 0
    this.#decoding.memory = on && isFullyOn(this.#config, this.#capabilities)
  }

  /** What a broken list hides is not there; the transport, which reads it too, says what is wrong with it. */
  #readCapabilities(): readonly PciCapability[] {
    try {
      return walkCapabilities(this.#config)
    } catch (error) {
      if (error instanceof PciError) return []
      throw error
    }
  }

  #checkPresent(): void {
    const { reason } = this.#notice
    if (reason !== undefined) throw new PciError('pci.gone', reason.message, { cause: reason })
    if (this.#closed) throw new PciError('pci.gone', `${this.address} has been closed; open it again`)
  }
}
