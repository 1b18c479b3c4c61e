import { PciCommand } from '@virtio-ts/pci'
import { AddressWindow } from './address-window.ts'
import type { FunctionConfig } from './function-config.ts'

// Registers of a type 1 header.
const PRIMARY_BUS = 0x18
const IO_BASE = 0x1c
const MEMORY_BASE = 0x20
const PREFETCHABLE_BASE = 0x24
const PREFETCHABLE_BASE_HIGH = 0x28
const PREFETCHABLE_LIMIT_HIGH = 0x2c

const MiB = 0x10_0000
const GiB = 0x4000_0000
/** What a bridge's I/O window is a multiple of. */
const IO_WINDOW = 0x1000
/** Windows of the bridges on bus 0; each level below gets a quarter. */
const MEMORY_WINDOW: number = 8 * MiB
const PREFETCHABLE_WINDOW: number = 4 * GiB

/** A PCI bus: its number, and the addresses that functions on it can have. */
export class PciBus {
  readonly number: number
  /** What leads here; undefined for bus 0. */
  readonly bridge: { readonly config: FunctionConfig; readonly parent: PciBus } | undefined
  /** Below 4 GiB. */
  readonly memory: AddressWindow
  /** 64-bit addresses: any memory on bus 0, prefetchable memory only behind a bridge. */
  readonly prefetchable: AddressWindow
  /** Highest number of a bus behind this one; itself if there is none. */
  subordinate: number
  #io: AddressWindow | undefined

  static root(): PciBus {
    return new PciBus(0, undefined, {
      io: new AddressWindow('I/O', 0xc000, 0x1_0000),
      // Between PCI Express' configuration window and the interrupt controllers.
      memory: new AddressWindow('32-bit memory', 0xe000_0000, 0xfec0_0000),
      prefetchable: new AddressWindow('64-bit memory', 0x8_0000_0000, 0x80_0000_0000),
    })
  }

  /** The bus behind a bridge on `parent`, with windows cut from the parent's. @throws QemuError `qemu.exhausted` */
  static behind(config: FunctionConfig, parent: PciBus, number: number): PciBus {
    let share = 1
    for (let above = parent; above.bridge !== undefined; above = above.bridge.parent) share *= 4
    const window = (from: AddressWindow, length: number): AddressWindow => {
      const start = from.allocate(length)
      return new AddressWindow(from.name, start, start + length)
    }
    return new PciBus(
      number,
      { config, parent },
      {
        memory: window(parent.memory, Math.max(MEMORY_WINDOW / share, MiB)),
        prefetchable: window(parent.prefetchable, Math.max(PREFETCHABLE_WINDOW / share, MiB)),
      },
    )
  }

  private constructor(
    number: number,
    bridge: PciBus['bridge'],
    windows: { io?: AddressWindow; memory: AddressWindow; prefetchable: AddressWindow },
  ) {
    this.number = number
    this.subordinate = number
    this.bridge = bridge
    this.memory = windows.memory
    this.prefetchable = windows.prefetchable
    this.#io = windows.io
  }

  /**
   * I/O ports, of which there are few: a bridge gets some only when something behind it needs them.
   * @throws QemuError `qemu.exhausted`
   */
  get io(): AddressWindow {
    if (this.#io === undefined) {
      const from = (this.bridge as NonNullable<PciBus['bridge']>).parent.io
      const start = from.allocate(IO_WINDOW)
      this.#io = new AddressWindow(from.name, start, start + IO_WINDOW)
      this.program()
    }
    return this.#io
  }

  /** Writes numbers and windows into the bridge, and lets it pass accesses both ways. */
  program(): void {
    if (this.bridge === undefined) return
    const { config, parent } = this.bridge
    config.configWrite32(PRIMARY_BUS, (this.subordinate << 16) | (this.number << 8) | parent.number)
    const io = this.#io
    // base above limit: closed
    config.configWrite16(IO_BASE, io === undefined ? 0x00f0 : (((io.end - 1) >> 8) << 8) | ((io.start >> 8) & 0xf0))
    config.configWrite32(MEMORY_BASE, megabytes(this.memory))
    config.configWrite32(PREFETCHABLE_BASE, megabytes(this.prefetchable))
    config.configWrite32(PREFETCHABLE_BASE_HIGH, Math.floor(this.prefetchable.start / 2 ** 32))
    config.configWrite32(PREFETCHABLE_LIMIT_HIGH, Math.floor((this.prefetchable.end - 1) / 2 ** 32))
    config.change16(0x04, PciCommand.IO_SPACE | PciCommand.MEMORY_SPACE | PciCommand.BUS_MASTER, 0)
  }
}

/** A bridge's base and limit registers: the upper 12 of 32 address bits each. */
function megabytes({ start, end }: AddressWindow): number {
  const half = (address: number): number => ((address % 2 ** 32) >>> 16) & 0xfff0
  return ((half(end - 1) << 16) | half(start)) >>> 0
}
