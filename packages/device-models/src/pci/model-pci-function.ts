import type { DmaAllocator } from '@virtio-ts/memory'
import { heapDma } from '@virtio-ts/memory/heap'
import { type InterruptVector, type PciBar, PciError, type PciFunction } from '@virtio-ts/pci'
import { PciCapabilityType as Cap } from '@virtio-ts/spec'
import { DeviceCore, type DeviceStats } from '../device-core.ts'
import { DeviceMemory } from '../device-memory.ts'
import type { DeviceModel } from '../device-model.ts'
import { honest } from '../profiles/honest.ts'
import { Rules, type Violation } from '../rules.ts'
import { TrackedDma } from '../tracked-dma.ts'
import { ViolationLog } from '../violation-log.ts'
import { commonRegisters } from './common-registers.ts'
import { type ConfigSpace, PciHeader } from './config-space.ts'
import { ConfigWindow } from './config-window.ts'
import { deviceConfigRegisters, isrRegister, notifyRegisters } from './device-registers.ts'
import {
  buildConfigSpace,
  LEGACY_BAR,
  MSIX_BAR,
  type Placement,
  place,
  planFunction,
  structureBar,
  transportFeatures,
} from './function-layout.ts'
import { InterruptLines } from './interrupt-lines.ts'
import { LegacyRegisters } from './legacy-registers.ts'
import { ModelBar, type PlacedBlock } from './model-bar.ts'
import type { ModelFunctionOptions } from './model-function-options.ts'
import { MsixTable } from './msix-table.ts'
import { allOnes, type Width } from './register-block.ts'
import { VectorRegisters } from './vector-registers.ts'

const MSIX_ENABLE = 0x8000
const MSIX_FUNCTION_MASK = 0x4000

/** A software device as a PCI function of this process. @see modelFunction */
export class ModelPciFunction<Model extends DeviceModel = DeviceModel> implements PciFunction {
  readonly address: string
  readonly bus: string = 'model'
  readonly model: Model
  /** The device behind the registers: status, features, queues. For tests and tools. */
  readonly core: DeviceCore
  readonly msixVectors: number
  readonly #options: ModelFunctionOptions
  readonly #dma: TrackedDma
  readonly #log = new ViolationLog()
  readonly #space: ConfigSpace
  readonly #msixAt: number | undefined
  readonly #window: ConfigWindow | undefined
  readonly #table: MsixTable
  readonly #lines: InterruptLines
  readonly #bars = new Map<number, ModelBar>()
  readonly #goneListeners = new Set<(reason: Error) => void>()
  #goneReason: Error | undefined
  /** Gone, and nobody was told. */
  #silent = false
  #closed = false

  constructor(model: Model, options: ModelFunctionOptions = {}) {
    const entries = options.msix === undefined ? model.queueSizes.length + 1 : options.msix || 0
    const intx = options.intx ?? true
    const profile = options.profile ?? honest()
    this.model = model
    this.address = options.address ?? '0000:00:04.0'
    this.#options = options
    const memory = options.dma ?? heapDma()
    this.#dma = new TrackedDma(memory)
    this.#table = new MsixTable(entries)
    this.#lines = new InterruptLines({
      table: this.#table,
      msixEnabled: () => this.#msixEnabled(),
      intxDisabled: () => (this.#command() & PciHeader.COMMAND_INTX_DISABLE) !== 0,
      intx,
      configurationIsr: profile.configurationIsr ?? 3,
    })
    const reachable = (): boolean =>
      !this.#closed &&
      !this.#silent &&
      this.#goneReason === undefined &&
      (this.#command() & PciHeader.COMMAND_BUS_MASTER) !== 0
    this.core = new DeviceCore({
      model,
      memory: DeviceMemory.of(memory, {
        violations: this.#log,
        freed: (address, length) => this.#dma.freed(address, length),
      }),
      violations: this.#log,
      profile,
      features: transportFeatures(options),
      execution: options.execution ?? 'immediate',
      bus: {
        get reachable() {
          return reachable()
        },
        used: (queue) => this.#lines.used(this.core, queue),
        configChanged: () => this.#lines.configChanged(this.core, vectors),
        reset: () => {
          vectors.reset()
          this.#lines.reset()
        },
      },
    })
    const vectors = new VectorRegisters(this.core, entries)
    const placements = place(this.#structures(vectors), structureBar(options).kind)
    const legacy = new LegacyRegisters({
      core: this.core,
      vectors,
      readIsr: () => this.#lines.readIsr(),
      vectorsShown: () => (options.legacyVectorRegisters ?? true) && this.#msixEnabled(),
    })
    const plan = planFunction(model, options, placements, legacy.length, entries)
    this.core.show('build', plan)
    const { space, window, msix } = buildConfigSpace(plan, intx)
    this.#space = space
    this.#msixAt = msix
    this.msixVectors = msix === undefined ? 0 : plan.msixEntries
    const blocks = new Map<number, PlacedBlock[]>([
      [LEGACY_BAR, [{ offset: 0, block: legacy }]],
      [MSIX_BAR, [{ offset: 0, block: this.#table }]],
      [structureBar(options).index, placements],
    ])
    for (const [index, { kind, length }] of plan.bars)
      this.#bars.set(
        index,
        new ModelBar({ index, kind, length, blocks: blocks.get(index) ?? [], reach: () => this.#reach(kind) }),
      )
    this.#window = window === undefined ? undefined : new ConfigWindow(space, window, this.core, this.#bars)
  }

  /** What the driver did against the specification so far. */
  get violations(): readonly Violation[] {
    return this.#log.list
  }

  get stats(): DeviceStats & { readonly interrupts: number } {
    return { ...this.core.stats, interrupts: this.#lines.sent }
  }

  get dma(): DmaAllocator {
    return this.#dma
  }

  get gone(): boolean {
    return this.#goneReason !== undefined
  }

  configRead8(offset: number): number {
    return this.#configRead(offset, 1)
  }

  configRead16(offset: number): number {
    return this.#configRead(offset, 2)
  }

  configRead32(offset: number): number {
    return this.#configRead(offset, 4)
  }

  configWrite8(offset: number, value: number): void {
    this.#configWrite(offset, 1, value)
  }

  configWrite16(offset: number, value: number): void {
    this.#configWrite(offset, 2, value)
  }

  configWrite32(offset: number, value: number): void {
    this.#configWrite(offset, 4, value)
  }

  bar(index: number): PciBar {
    const bar = this.#bars.get(index)
    if (!bar)
      throw new PciError(
        'pci.no-bar',
        `${this.address} has no BAR ${index}; it has ${[...this.#bars.keys()].join(', ') || 'none'}`,
      )
    return bar
  }

  enableMsix(count: number): readonly InterruptVector[] {
    if (this.#msixAt === undefined || count > this.msixVectors)
      throw new PciError(
        'pci.msix-unavailable',
        `${this.address} has ${this.msixVectors} MSI-X vectors, not ${count}; ask for fewer`,
      )
    const vectors = this.#table.route(count)
    this.#configWrite(this.#msixAt + 2, 2, MSIX_ENABLE)
    return vectors
  }

  disableMsix(): void {
    if (this.#closed) return
    if (this.#msixAt !== undefined && !this.gone) this.#configWrite(this.#msixAt + 2, 2, 0)
    this.#table.release()
  }

  intx(): InterruptVector | undefined {
    return this.#closed ? undefined : this.#lines.line
  }

  setBusMaster(enabled: boolean): void {
    const command = this.#configRead(PciHeader.COMMAND, 2)
    const bit = PciHeader.COMMAND_BUS_MASTER
    this.#configWrite(PciHeader.COMMAND, 2, enabled ? command | bit : command & ~bit)
  }

  onGone(listener: (reason: Error) => void): () => void {
    if (this.#goneReason) listener(this.#goneReason)
    else this.#goneListeners.add(listener)
    return () => this.#goneListeners.delete(listener)
  }

  async reset(): Promise<void> {
    if (this.#options.functionReset === false)
      throw new PciError('pci.no-reset', `${this.address} cannot be reset as a function; reset the device instead`)
    this.core.reset()
    this.disableMsix()
    this.setBusMaster(false)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.disableMsix()
    if (!this.gone) this.setBusMaster(false)
    this.#closed = true
    this.core.close()
    this.#lines.close()
    this.#goneListeners.clear()
  }

  /** Takes the device away, as surprise removal does: registers read as all-ones, no memory access, no interrupts. */
  unplug(
    reason: Error = new PciError('pci.gone', `${this.address} was unplugged; open it again when it is back`),
  ): void {
    if (this.#goneReason || this.#closed) return
    this.#goneReason = reason
    this.core.close()
    const listeners = [...this.#goneListeners]
    this.#goneListeners.clear()
    for (const listener of listeners) listener(reason)
  }

  #structures(vectors: VectorRegisters): Omit<Placement, 'offset'>[] {
    if (this.#options.interface === 'legacy') return []
    const multiplier = this.#options.notifyOffMultiplier ?? 4
    const extra = Uint8Array.of(
      multiplier & 0xff,
      (multiplier >>> 8) & 0xff,
      (multiplier >>> 16) & 0xff,
      multiplier >>> 24,
    )
    const config = deviceConfigRegisters(this.core)
    return [
      { type: Cap.COMMON, block: commonRegisters(this.core, vectors) },
      { type: Cap.ISR, block: isrRegister(() => this.#lines.readIsr()) },
      ...(config.length > 0 ? [{ type: Cap.DEVICE, block: config }] : []),
      { type: Cap.NOTIFY, block: notifyRegisters(this.core, multiplier), extra },
    ]
  }

  #command(): number {
    return this.#space.get16(PciHeader.COMMAND)
  }

  #msixEnabled(): boolean {
    return this.#msixAt !== undefined && (this.#space.get16(this.#msixAt + 2) & MSIX_ENABLE) !== 0
  }

  /** Whether registers answer; shows the access to the profile, which may end the device here. */
  #alive(space: 'configuration' | 'bar'): boolean {
    if (this.#closed) throw new PciError('pci.access', `${this.address} is closed; open it again`)
    if (this.#goneReason || this.#silent) return false
    const moment = { space, gone: false, announced: true }
    this.core.show('access', moment)
    if (moment.gone && !moment.announced) this.#silent = true
    else if (moment.gone)
      this.unplug(new PciError('pci.gone', `${this.address} does not answer any more; open it again when it is back`))
    return !moment.gone
  }

  #reach(kind: 'memory' | 'io'): boolean {
    const bit = kind === 'io' ? PciHeader.COMMAND_IO : PciHeader.COMMAND_MEMORY
    return this.#alive('bar') && (this.#command() & bit) !== 0
  }

  #configRead(offset: number, width: Width): number {
    if (!this.#alive('configuration')) return allOnes(width)
    this.#window?.beforeRead(offset)
    if (offset <= PciHeader.STATUS && offset + width > PciHeader.STATUS) this.#showInterruptStatus()
    return this.#space.read(offset, width)
  }

  #configWrite(offset: number, width: Width, value: number): void {
    if (!this.#alive('configuration')) return
    if (offset >= 0x40 && !this.#space.isWritable(offset, width))
      this.#log.record(
        Rules.PCI_CAPABILITIES,
        `configuration space at 0x${offset.toString(16)} is read-only for the driver`,
      )
    this.#space.write(offset, width, value)
    this.#window?.afterWrite(offset)
    if (this.#msixAt !== undefined)
      this.#table.functionMasked = (this.#space.get16(this.#msixAt + 2) & MSIX_FUNCTION_MASK) !== 0
    this.#lines.update()
  }

  /** VIRTIO 1.3 § 4.1.4.5.1 "Device Requirements: ISR status capability": the Interrupt Status bit of the PCI Status register. */
  #showInterruptStatus(): void {
    const pending = this.#lines.isr !== 0 && !this.#msixEnabled()
    const status = this.#space.get16(PciHeader.STATUS) & ~PciHeader.STATUS_INTERRUPT
    this.#space.set16(PciHeader.STATUS, pending ? status | PciHeader.STATUS_INTERRUPT : status)
  }
}

/** Puts a device model on a PCI bus of this process. */
export function modelFunction<Model extends DeviceModel>(
  model: Model,
  options: ModelFunctionOptions = {},
): ModelPciFunction<Model> {
  return new ModelPciFunction(model, options)
}
