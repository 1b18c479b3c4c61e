import type { DeviceCore } from '../device-core.ts'
import { Rules } from '../rules.ts'
import type { ConfigSpace } from './config-space.ts'
import type { ModelBar } from './model-bar.ts'
import type { Width } from './register-block.ts'

const BAR = 4
const OFFSET = 8
const LENGTH = 12
const DATA = 16

/**
 * The window onto the BARs within configuration space.
 * @see VIRTIO 1.3 § 4.1.4.9 "PCI configuration access capability"
 */
export class ConfigWindow {
  readonly #space: ConfigSpace
  /** Where the capability begins. */
  readonly #at: number
  readonly #core: DeviceCore
  readonly #bars: ReadonlyMap<number, ModelBar>

  constructor(space: ConfigSpace, at: number, core: DeviceCore, bars: ReadonlyMap<number, ModelBar>) {
    this.#space = space
    this.#at = at
    this.#core = core
    this.#bars = bars
    space.allow(at + BAR, 1, 0xff)
    space.allow(at + OFFSET, 4, 0xffffffff)
    space.allow(at + LENGTH, 4, 0xffffffff)
    space.allow(at + DATA, 4, 0xffffffff)
  }

  /** Before configuration space is read: fetches what the window shows. */
  beforeRead(offset: number): void {
    const target = this.#target(offset)
    if (target) this.#space.set32(this.#at + DATA, target.bar.read(target.offset, target.width))
  }

  /** After configuration space was written: passes on what was put into the window. */
  afterWrite(offset: number): void {
    const target = this.#target(offset)
    if (target) target.bar.write(target.offset, target.width, this.#space.get32(this.#at + DATA))
  }

  #target(touched: number): { bar: ModelBar; offset: number; width: Width } | undefined {
    if (touched < this.#at + DATA || touched >= this.#at + DATA + 4) return undefined
    const bar = this.#bars.get(this.#space.read(this.#at + BAR, 1))
    const offset = this.#space.get32(this.#at + OFFSET)
    const width = this.#space.get32(this.#at + LENGTH)
    if (bar && (width === 1 || width === 2 || width === 4) && offset % width === 0 && offset + width <= bar.length)
      return { bar, offset, width }
    this.#core.violation(
      Rules.PCI_CONFIG_ACCESS,
      `pci_cfg_data used while the window shows ${width} bytes at ${offset}`,
    )
    return undefined
  }
}
