import { heapDma } from '@virtio-ts/memory/heap'
import { type InterruptVector, type PciBar, PciError, type PciFunction } from '@virtio-ts/pci'
import { CommonConfig, PciCapabilityType } from '@virtio-ts/spec'
import { FakeDevice } from './fake-device.fixture.ts'

export interface FakeCapability {
  type: number
  bar: number
  offset: number
  length: number
  capLength?: number
  multiplier?: number
}

export interface FakeFunctionOptions {
  device?: FakeDevice
  vendor?: number
  deviceId?: number
  subsystem?: number
  revision?: number
  /** BAR lengths by index, as the bus knows them; 0: there is none. */
  bars?: Readonly<Record<number, number>>
  ioBars?: readonly number[]
  capabilities?: readonly FakeCapability[]
  /** MSI-X vectors; 0: no such capability. */
  msix?: number
  /** Vectors that the bus can deliver, where these are fewer. */
  deliverable?: number
  intx?: boolean
}

export const modernCapabilities: readonly FakeCapability[] = [
  { type: PciCapabilityType.COMMON, bar: 4, offset: 0, length: 0x1000 },
  { type: PciCapabilityType.ISR, bar: 4, offset: 0x1000, length: 0x1000 },
  { type: PciCapabilityType.DEVICE, bar: 4, offset: 0x2000, length: 0x1000 },
  { type: PciCapabilityType.NOTIFY, bar: 4, offset: 0x3000, length: 0x1000, multiplier: 4 },
]

export class FakeVector implements InterruptVector {
  readonly fd = -1
  listener: (() => void) | undefined

  drain(): boolean {
    return false
  }

  watch(listener: () => void): () => void {
    if (this.listener) throw new Error('watched twice')
    this.listener = listener
    return () => {
      this.listener = undefined
    }
  }

  fire(): void {
    this.listener?.()
  }
}

/** A PCI function that writes down every access, for tests that need a device do what none does. */
export class FakeFunction implements PciFunction {
  readonly address = '0000:00:05.0'
  readonly bus = 'fake'
  readonly dma = heapDma(1 << 20, { deviceAddress: 0x100000 })
  readonly device: FakeDevice
  readonly config = new Uint8Array(256)
  readonly msixVectors: number
  /** Accesses of BARs, e.g. `write16 bar4+0x16 1`; those of interrupts and bus mastering by name. */
  readonly log: string[] = []
  readonly vectors: FakeVector[] = []
  readonly line = new FakeVector()
  busMaster = false
  gone = false
  closed = 0
  /** What all registers read as, once set: a device that no longer answers. */
  dead: number | undefined
  /** Makes the next access of a BAR throw. */
  failure: Error | undefined
  readonly #options: FakeFunctionOptions
  readonly #goneListeners = new Set<(reason: Error) => void>()
  #msixControl = -1

  constructor(options: FakeFunctionOptions = {}) {
    this.#options = options
    this.device = options.device ?? new FakeDevice()
    this.msixVectors = Math.min(options.msix ?? 4, options.deliverable ?? 4096)
    const view = new DataView(this.config.buffer)
    view.setUint16(0, options.vendor ?? 0x1af4, true)
    view.setUint16(2, options.deviceId ?? 0x1041, true)
    view.setUint16(4, 0x03, true)
    view.setUint16(6, 0x10, true)
    this.config[8] = options.revision ?? 1
    view.setUint16(0x2e, options.subsystem ?? 1, true)
    this.#writeCapabilities(view)
  }

  get msixEnabled(): boolean {
    return this.#msixControl > 0 && (this.configRead16(this.#msixControl) & 0x8000) !== 0
  }

  set msixEnabled(on: boolean) {
    if (this.#msixControl < 0) throw new Error('no MSI-X')
    const at = this.#msixControl + 1
    this.config[at] = on ? (this.config[at] as number) | 0x80 : (this.config[at] as number) & 0x7f
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

  configWrite8(): void {
    throw new Error('configuration space written')
  }

  configWrite16(): void {
    throw new Error('configuration space written')
  }

  configWrite32(): void {
    throw new Error('configuration space written')
  }

  bar(index: number): PciBar {
    if (this.gone) throw new PciError('pci.gone', 'gone')
    const length = (this.#options.bars ?? { 0: 64, 4: 0x4000 })[index] ?? 0
    if (length === 0) throw new PciError('pci.no-bar', `no BAR ${index}`)
    const io = (this.#options.ioBars ?? [0]).includes(index)
    const read = (width: number) => (offset: number) => this.#read(index, length, offset, width)
    const write = (width: number) => (offset: number, value: number) => this.#write(index, length, offset, width, value)
    return {
      index,
      kind: io ? 'io' : 'memory',
      length,
      read8: read(1),
      read16: read(2),
      read32: read(4),
      write8: write(1),
      write16: write(2),
      write32: write(4),
      notify: (offset, value, width) => {
        this.#check(index, length, offset, width / 8)
        this.log.push(`notify${width} bar${index}+0x${offset.toString(16)} ${value}`)
        this.device.notifications.push({ offset, value })
      },
    }
  }

  enableMsix(count: number): readonly InterruptVector[] {
    this.log.push(`enableMsix ${count}`)
    if (count > this.msixVectors) throw new PciError('pci.msix-unavailable', `${count} vectors`)
    this.msixEnabled = true
    this.vectors.splice(0, this.vectors.length, ...Array.from({ length: count }, () => new FakeVector()))
    return [...this.vectors]
  }

  disableMsix(): void {
    this.log.push('disableMsix')
    if (this.#msixControl > 0) this.msixEnabled = false
  }

  intx(): InterruptVector | undefined {
    return this.#options.intx === false ? undefined : this.line
  }

  setBusMaster(enabled: boolean): void {
    this.log.push(`busMaster ${enabled ? 'on' : 'off'}`)
    this.busMaster = enabled
  }

  onGone(listener: (reason: Error) => void): () => void {
    this.#goneListeners.add(listener)
    return () => this.#goneListeners.delete(listener)
  }

  get goneListeners(): number {
    return this.#goneListeners.size
  }

  unplug(): void {
    this.gone = true
    this.dead = 0
    this.config.fill(0xff)
    for (const listener of [...this.#goneListeners]) listener(new Error('unplugged'))
    this.#goneListeners.clear()
  }

  async reset(): Promise<void> {
    throw new PciError('pci.no-reset', 'no function level reset')
  }

  async close(): Promise<void> {
    this.closed++
  }

  #configRead(offset: number, width: number): number {
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.config[offset + i] ?? 0xff)
    return value
  }

  #read(bar: number, length: number, offset: number, width: number): number {
    this.#check(bar, length, offset, width)
    const at = `read${8 * width} bar${bar}+0x${offset.toString(16)}`
    this.log.push(at)
    if (this.dead !== undefined) return this.dead === 0 ? 0 : 2 ** (8 * width) - 1
    if (this.#isLegacy(bar)) return this.device.readLegacy(offset, width, this.msixEnabled)
    const { type, at: register } = this.#structure(bar, offset)
    if (type === PciCapabilityType.COMMON) return this.device.readCommon(register, width)
    if (type === PciCapabilityType.ISR) return this.device.takeIsr()
    if (type === PciCapabilityType.DEVICE) return this.device.readConfig(register, width)
    throw new Error(at)
  }

  #write(bar: number, length: number, offset: number, width: number, value: number): void {
    this.#check(bar, length, offset, width)
    this.log.push(`write${8 * width} bar${bar}+0x${offset.toString(16)} ${value}`)
    if (this.dead !== undefined) return
    if (this.#isLegacy(bar)) {
      this.device.writeLegacy(offset, width, value, this.msixEnabled)
      return
    }
    const { type, at } = this.#structure(bar, offset)
    if (type === PciCapabilityType.COMMON) this.device.writeCommon(at, width, value)
    else if (type === PciCapabilityType.DEVICE) this.device.writeConfig(at, width, value)
    else throw new Error(`write${8 * width} at ${offset}`)
  }

  #isLegacy(bar: number): boolean {
    return bar === 0 && !(this.#options.capabilities ?? modernCapabilities).some((capability) => capability.bar === 0)
  }

  #structure(bar: number, offset: number): { type: number; at: number } {
    for (const candidate of this.#options.capabilities ?? modernCapabilities) {
      if (candidate.bar !== bar || offset < candidate.offset || offset >= candidate.offset + candidate.length) continue
      return { type: candidate.type, at: offset - candidate.offset }
    }
    throw new Error(`nothing at bar${bar}+${offset}`)
  }

  #check(bar: number, length: number, offset: number, width: number): void {
    if (this.gone) throw new PciError('pci.gone', 'gone')
    if (this.failure) throw this.failure
    if (offset < 0 || offset + width > length) throw new PciError('pci.bar-bounds', `bar${bar}+${offset}`)
    if (offset % width !== 0) throw new Error(`unaligned access of ${width} bytes at ${offset}`)
  }

  #writeCapabilities(view: DataView): void {
    let pointerAt = 0x34
    let at = 0x40
    const link = (length: number): void => {
      this.config[pointerAt] = at
      pointerAt = at + 1
      at += (length + 3) & ~3
    }
    if (this.#options.msix !== 0) {
      this.config[at] = 0x11
      view.setUint16(at + 2, (this.#options.msix ?? 4) - 1, true)
      view.setUint32(at + 4, 1, true)
      view.setUint32(at + 8, 0x801, true)
      this.#msixControl = at + 2
      link(12)
    }
    for (const capability of this.#options.capabilities ?? modernCapabilities) {
      const length = capability.capLength ?? (capability.multiplier === undefined ? 16 : 20)
      this.config.set([0x09, 0, length, capability.type, capability.bar], at)
      view.setUint32(at + 8, capability.offset, true)
      view.setUint32(at + 12, capability.length, true)
      if (capability.multiplier !== undefined) view.setUint32(at + 16, capability.multiplier, true)
      // Whatever length it claims, it is given room for the longest honest one.
      link(24)
    }
  }
}

/** Register addresses as they appear in the log. */
export const common = (register: keyof typeof CommonConfig): string => `bar4+0x${CommonConfig[register].toString(16)}`
