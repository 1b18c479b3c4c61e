import { PciCommand, PciConfig, PciError, type ProbedBar, probeBars } from '@virtio-ts/pci'
import type { AddressWindow } from './address-window.ts'
import { type FunctionNumber, functionNumber } from './config-access.ts'
import { FunctionConfig } from './function-config.ts'
import { PciBus } from './pci-bus.ts'
import type { Platform } from './platform.ts'
import { QemuError } from './qemu-error.ts'

const HEADER_TYPE_BRIDGE = 1
const HEADER_MULTI_FUNCTION = 0x80
const LAST_BUS = 255

/** A BAR with the bus address it was given. */
export interface PlacedBar {
  readonly index: number
  readonly kind: 'memory' | 'io'
  readonly length: number
  readonly address: number
  readonly is64Bit: boolean
  readonly window: AddressWindow
}

/** A function that was found and can be used: its BARs have addresses. */
export interface PlacedFunction {
  readonly number: FunctionNumber
  readonly config: FunctionConfig
  readonly bus: PciBus
  /** Vendor and device ID. */
  readonly identity: number
  readonly bars: readonly PlacedBar[]
  /** IOAPIC pin of its interrupt, or undefined when it has none. */
  readonly interruptPin: number | undefined
}

export interface ScanResult {
  /** No longer there, or replaced by another. */
  readonly removed: readonly PlacedFunction[]
  /** Had lost their addresses, and have them back. */
  readonly restored: readonly PlacedFunction[]
}

/** Numbers buses, finds functions and gives them addresses, as firmware does on a machine that has one. */
export class PciTopology {
  readonly #platform: Platform
  readonly #root: PciBus = PciBus.root()
  readonly #buses = new Map<FunctionNumber, PciBus>()
  readonly #functions = new Map<FunctionNumber, PlacedFunction>()
  #lastBus = 0
  #numbered = false
  #restored: PlacedFunction[] = []

  constructor(platform: Platform) {
    this.#platform = platform
  }

  /** Those that the last scan found, and nobody has told to forget since. */
  get functions(): readonly PlacedFunction[] {
    return [...this.#functions.values()]
  }

  /** The bus behind a bridge, if the last scan found it. */
  busBehind(bridge: FunctionNumber): PciBus | undefined {
    return this.#buses.get(bridge)
  }

  /**
   * Looks at every bus. What is known and has lost its addresses (a reset) gets them back; what is new gets some, with
   * decoding on, bus master and INTx off.
   * @throws QemuError `qemu.exhausted`
   */
  scan(): ScanResult {
    const found = new Map<FunctionNumber, PlacedFunction>()
    this.#restored = []
    const known = new Map(this.#functions)
    this.#scanBus(this.#root, found)
    this.#numbered = true
    const removed = [...known.values()].filter((fn) => found.get(fn.number) !== fn)
    for (const fn of removed) this.forget(fn)
    for (const fn of found.values()) this.#functions.set(fn.number, fn)
    return { removed, restored: this.#restored }
  }

  /** Takes a function off the books: its addresses can be given to another. */
  forget(fn: PlacedFunction): void {
    for (const bar of fn.bars) bar.window.free(bar.address)
    if (this.#functions.get(fn.number) === fn) this.#functions.delete(fn.number)
  }

  /** Writes a function's addresses into its BARs and switches decoding on; bus master and INTx are off afterwards. */
  restore({ config, bars }: PlacedFunction): void {
    config.configWrite16(PciConfig.COMMAND, PciCommand.INTX_DISABLE)
    for (const bar of bars) {
      config.configWrite32(PciConfig.BAR0 + 4 * bar.index, bar.address % 2 ** 32)
      if (bar.is64Bit) config.configWrite32(PciConfig.BAR0 + 4 * bar.index + 4, Math.floor(bar.address / 2 ** 32))
    }
    const decoding = PciCommand.IO_SPACE | PciCommand.MEMORY_SPACE
    config.configWrite16(PciConfig.COMMAND, decoding | PciCommand.INTX_DISABLE)
  }

  #scanBus(bus: PciBus, found: Map<FunctionNumber, PlacedFunction>): void {
    for (let device = 0; device < 32; device++) {
      for (let fn = 0; fn < 8; fn++) {
        const config = new FunctionConfig(this.#platform.config, functionNumber(bus.number, device, fn))
        if (!config.present) {
          if (fn === 0) break
          continue
        }
        const header = config.configRead8(PciConfig.HEADER_TYPE)
        if ((header & ~HEADER_MULTI_FUNCTION) === HEADER_TYPE_BRIDGE) this.#scanBridge(bus, config, found)
        else if (!this.#platform.isBuiltIn(config.number)) found.set(config.number, this.#known(bus, config))
        if (fn === 0 && (header & HEADER_MULTI_FUNCTION) === 0) break
      }
    }
  }

  #scanBridge(parent: PciBus, config: FunctionConfig, found: Map<FunctionNumber, PlacedFunction>): void {
    const known = this.#buses.get(config.number)
    if (known !== undefined) {
      known.program()
      return this.#scanBus(known, found)
    }
    // Numbers behind a bridge are contiguous: one plugged in behind another later has none, and stays closed.
    if (this.#numbered && parent.bridge !== undefined) return
    if (this.#lastBus === LAST_BUS) throw new QemuError('qemu.exhausted', 'no bus numbers are left: use fewer bridges')
    const bus = PciBus.behind(config, parent, ++this.#lastBus)
    this.#buses.set(config.number, bus)
    // Whatever is numbered meanwhile must be reachable; the bound is drawn in afterwards.
    bus.subordinate = LAST_BUS
    bus.program()
    this.#scanBus(bus, found)
    bus.subordinate = this.#lastBus
    bus.program()
  }

  /** What is on the books about this function, brought up to date; or the function newly placed. */
  #known(bus: PciBus, config: FunctionConfig): PlacedFunction {
    const known = this.#functions.get(config.number)
    const identity = config.configRead32(PciConfig.VENDOR_ID)
    if (known === undefined || known.identity !== identity) return this.#place(bus, config, identity)
    const lost = known.bars.some((bar) => {
      const register = config.configRead32(PciConfig.BAR0 + 4 * bar.index)
      return (register & (bar.kind === 'io' ? ~3 : ~15)) >>> 0 !== bar.address % 2 ** 32
    })
    if (lost) {
      this.restore(known)
      this.#restored.push(known)
    }
    return known
  }

  #place(bus: PciBus, config: FunctionConfig, identity: number): PlacedFunction {
    const bars = placedBars(bus, probed(config))
    const pin = config.configRead8(PciConfig.INTERRUPT_PIN)
    const interruptPin = pin >= 1 && pin <= 4 ? this.#interruptPin(bus, config.number, pin - 1) : undefined
    const placed = { number: config.number, config, bus, identity, bars, interruptPin }
    this.restore(placed)
    return placed
  }

  /** Every bridge on the way turns the four interrupt lines by its slot's number. */
  #interruptPin(bus: PciBus, number: FunctionNumber, pin: number): number | undefined {
    let device = (number >> 3) & 31
    let line = pin
    for (let at = bus.bridge; at !== undefined; at = at.parent.bridge) {
      line = (device + line) & 3
      device = (at.config.number >> 3) & 31
    }
    return this.#platform.interruptPin(device, line)
  }
}

/** A BAR that cannot be sized makes a function without BARs, not a bench that cannot start. */
function probed(config: FunctionConfig): ProbedBar[] {
  try {
    return probeBars(config)
  } catch (error) {
    if (error instanceof PciError) return []
    throw error
  }
}

/** @throws QemuError `qemu.exhausted`: then none keeps an address */
function placedBars(bus: PciBus, bars: readonly ProbedBar[]): PlacedBar[] {
  const placed: PlacedBar[] = []
  try {
    // the largest first: natural boundaries then leave no gaps
    for (const bar of bars.toSorted((a, b) => b.length - a.length)) {
      const window = windowFor(bus, bar)
      placed.push({ ...bar, window, address: window.allocate(bar.length) })
    }
    return placed
  } catch (error) {
    for (const bar of placed) bar.window.free(bar.address)
    throw error
  }
}

function windowFor(bus: PciBus, bar: ProbedBar): AddressWindow {
  if (bar.kind === 'io') return bus.io
  // Behind a bridge only the prefetchable window is 64 bits wide.
  const wide = bar.is64Bit && (bar.prefetchable || bus.bridge === undefined)
  return wide ? bus.prefetchable : bus.memory
}
