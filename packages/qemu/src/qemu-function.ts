import type { DmaAllocator } from '@virtio-ts/memory'
import {
  findMsix,
  formatAddress,
  type InterruptVector,
  Msix,
  type MsixCapability,
  type PciBar,
  PciCommand,
  PciConfig,
  PciError,
  type PciFunction,
  PciStatus,
} from '@virtio-ts/pci'
import { functionLevelReset } from './function-level-reset.ts'
import type { InterruptLines, LineVector } from './interrupt-lines.ts'
import type { IvshmemVectors } from './ivshmem-vectors.ts'
import { MsixRoutes } from './msix-routes.ts'
import type { PciTopology, PlacedFunction } from './pci-topology.ts'
import type { Qtest } from './qtest.ts'
import { QtestBar } from './qtest-bar.ts'

/** What of the bench its functions use. */
export interface FunctionSurroundings {
  readonly qtest: Qtest
  readonly topology: PciTopology
  readonly lines: InterruptLines
  readonly dma: DmaAllocator
  /** Undefined when the bench has no MSI-X vectors. */
  readonly vectors: IvshmemVectors | undefined
}

/** A PCI function of a QEMU bench. Once it is gone, or closed, its registers read as all-ones. */
export class QemuFunction implements PciFunction {
  readonly address: string
  readonly bus = 'qemu'
  /** As QEMU's command line or QMP named the device; empty when it got no id. */
  readonly id: string
  readonly dma: DmaAllocator
  readonly #bench: FunctionSurroundings
  readonly #placed: PlacedFunction
  readonly #bars = new Map<number, QtestBar>()
  readonly #goneListeners = new Set<(reason: Error) => void>()
  readonly #msixCapability: MsixCapability | undefined
  #msix: MsixRoutes | undefined
  #intx: LineVector | undefined
  #gone: Error | undefined
  #closed = false

  constructor(bench: FunctionSurroundings, placed: PlacedFunction, id: string) {
    this.#bench = bench
    this.#placed = placed
    this.id = id
    this.dma = bench.dma
    const { number } = placed
    this.address = formatAddress({
      domain: 0,
      bus: number >> 8,
      device: (number >> 3) & 31,
      function: number & 7,
    })
    for (const bar of placed.bars) this.#bars.set(bar.index, new QtestBar(bench.qtest, bar, () => this.#unreachable))
    this.#msixCapability = this.#findMsix()
  }

  configRead8(offset: number): number {
    return this.#unreachable ? 0xff : this.#placed.config.configRead8(offset)
  }
  configRead16(offset: number): number {
    return this.#unreachable ? 0xffff : this.#placed.config.configRead16(offset)
  }
  configRead32(offset: number): number {
    return this.#unreachable ? 0xffff_ffff : this.#placed.config.configRead32(offset)
  }
  configWrite8(offset: number, value: number): void {
    if (!this.#unreachable) this.#placed.config.configWrite8(offset, value)
  }
  configWrite16(offset: number, value: number): void {
    if (!this.#unreachable) this.#placed.config.configWrite16(offset, value)
  }
  configWrite32(offset: number, value: number): void {
    if (!this.#unreachable) this.#placed.config.configWrite32(offset, value)
  }

  bar(index: number): PciBar {
    const bar = this.#bars.get(index)
    if (bar !== undefined) return bar
    const there = [...this.#bars.keys()].toSorted((a, b) => a - b).join(', ') || 'none'
    throw new PciError('pci.no-bar', `${this.#name} has no BAR ${index}; it has ${there}`)
  }

  get msixVectors(): number {
    if (this.#msixCapability === undefined || this.#bench.vectors === undefined || this.#unreachable) return 0
    const reachable = this.#bench.vectors.available + (this.#msix?.vectors.length ?? 0)
    return Math.min(this.#msixCapability.tableSize, reachable)
  }

  enableMsix(count: number): readonly InterruptVector[] {
    this.#checkReachable()
    const { vectors } = this.#bench
    const capability = this.#msixCapability
    const possible = this.msixVectors
    if (
      !Number.isInteger(count) ||
      count < 1 ||
      count > possible ||
      vectors === undefined ||
      capability === undefined
    ) {
      const message =
        `${this.#name} cannot have ${count} MSI-X vectors: 1 to ${possible} are possible. The device's property \`vectors\` ` +
        "and the bench's option `ivshmemVectors` set the bounds; INTx may do instead"
      throw new PciError('pci.msix-unavailable', message)
    }
    this.disableMsix()
    this.#msix = new MsixRoutes({
      config: this.#placed.config,
      capability,
      table: this.bar(capability.table.bar),
      source: vectors,
      count,
    })
    return this.#msix.vectors
  }

  disableMsix(): void {
    this.#msix?.close(!this.#unreachable)
    this.#msix = undefined
  }

  intx(): InterruptVector | undefined {
    this.#checkReachable()
    const { interruptPin } = this.#placed
    if (interruptPin === undefined) return undefined
    if (this.#intx === undefined) {
      this.#intx = this.#bench.lines.open(interruptPin, () => this.#holdsLine)
      // A function that nobody serves must not hold a line that others share: until now it was disabled.
      this.#placed.config.change16(PciConfig.COMMAND, 0, PciCommand.INTX_DISABLE)
    }
    return this.#intx
  }

  /** Clearing the bit stops a virtio device of QEMU (DRIVER_OK goes too), and setting it again does not start it. */
  setBusMaster(enabled: boolean): void {
    if (this.#unreachable) return
    const bit = PciCommand.BUS_MASTER
    this.#placed.config.change16(PciConfig.COMMAND, enabled ? bit : 0, enabled ? 0 : bit)
  }

  get gone(): boolean {
    return this.#gone !== undefined || this.#bench.qtest.broken !== undefined
  }

  onGone(listener: (reason: Error) => void): () => void {
    if (this.#gone !== undefined) {
      listener(this.#gone)
      return () => {}
    }
    // the same function twice is two listeners
    const entry = (reason: Error): void => listener(reason)
    this.#goneListeners.add(entry)
    return () => void this.#goneListeners.delete(entry)
  }

  /** For the bench: the function is no longer there. */
  markGone(reason: Error): void {
    if (this.#gone !== undefined) return
    this.#gone = reason
    this.#releaseInterrupts()
    for (const listener of this.#goneListeners) {
      // each on its own: one that throws does not keep the others from hearing of it
      queueMicrotask(() => {
        if (this.#goneListeners.delete(listener)) listener(reason)
      })
    }
  }

  /** For the bench: the function has been reset by somebody else, and has its addresses back. */
  markReset(): void {
    this.#releaseInterrupts()
  }

  /**
   * A function-level reset, which functions behind a PCI Express root port have. Interrupts are off afterwards, and so is
   * bus master.
   */
  async reset(): Promise<void> {
    this.#checkReachable()
    const { config } = this.#placed
    const control = functionLevelReset(config)
    if (control === undefined) {
      const message = `${this.#name} has no function-level reset: put the device behind a pcie-root-port, or reset it by its own means`
      throw new PciError('pci.no-reset', message)
    }
    this.#releaseInterrupts()
    if (!(await control())) throw new PciError('pci.gone', `${this.#name} has not come back from its reset`)
    this.#bench.topology.restore(this.#placed)
  }

  /** QEMU goes on; `QemuBench.close` ends it. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#releaseInterrupts()
    if (!this.#unreachable) {
      this.#placed.config.change16(PciConfig.COMMAND, PciCommand.INTX_DISABLE, PciCommand.BUS_MASTER)
    }
    this.#closed = true
    this.#goneListeners.clear()
  }

  /** True after `close()`: the bench then makes another object for the function. */
  get closed(): boolean {
    return this.#closed
  }

  get #unreachable(): boolean {
    return this.#gone !== undefined || this.#closed
  }

  get #name(): string {
    return this.id === '' ? this.address : `${this.id} (${this.address})`
  }

  get #holdsLine(): boolean {
    if (this.gone || this.#closed) return false
    return (this.#placed.config.configRead16(PciConfig.STATUS) & PciStatus.INTERRUPT) !== 0
  }

  #releaseInterrupts(): void {
    this.disableMsix()
    this.#intx?.close()
    this.#intx = undefined
  }

  #findMsix(): MsixCapability | undefined {
    try {
      const found = findMsix(this.#placed.config)
      if (found === undefined) return undefined
      const tableEnd = found.table.offset + found.tableSize * Msix.ENTRY_LENGTH
      return tableEnd <= (this.#bars.get(found.table.bar)?.length ?? 0) ? found : undefined
    } catch (error) {
      if (error instanceof PciError) return undefined
      throw error
    }
  }

  #checkReachable(): void {
    if (this.#closed)
      throw new PciError('pci.gone', `${this.#name} has been closed; open it again with QemuBench.function`)
    const reason = this.#gone ?? this.#bench.qtest.broken
    if (reason !== undefined)
      throw new PciError('pci.gone', `${this.#name} is gone: ${reason.message}`, { cause: reason })
  }
}
