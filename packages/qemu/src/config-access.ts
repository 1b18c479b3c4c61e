import type { Qtest, QtestWidth } from './qtest.ts'

const CONFIG_ADDRESS = 0xcf8
const CONFIG_DATA = 0xcfc
const CONFIG_ENABLE = 0x8000_0000

/** Bus, device and function in 16 bits: bits 15:8, 7:3, 2:0. */
export type FunctionNumber = number

export function functionNumber(bus: number, device: number, fn: number): FunctionNumber {
  return (bus << 8) | (device << 3) | fn
}

/** How a machine's configuration space is reached. A function that is not there reads as all-ones. */
export interface ConfigAccess {
  /** Bytes of configuration space per function: 256, or 4096 on PCI Express. */
  readonly length: number
  read(target: FunctionNumber, offset: number, width: QtestWidth): number
  write(target: FunctionNumber, offset: number, width: QtestWidth, value: number): void
}

/** By the ports CF8 and CFC: every PC has them. Two commands an access, one round trip. */
export class PortConfigAccess implements ConfigAccess {
  readonly length = 256
  readonly #qtest: Qtest

  constructor(qtest: Qtest) {
    this.#qtest = qtest
  }

  read(target: FunctionNumber, offset: number, width: QtestWidth): number {
    this.#select(target, offset)
    return this.#qtest.read('io', width, CONFIG_DATA + (offset & 3))
  }

  write(target: FunctionNumber, offset: number, width: QtestWidth, value: number): void {
    this.#select(target, offset)
    this.#qtest.write('io', width, CONFIG_DATA + (offset & 3), value)
  }

  #select(target: FunctionNumber, offset: number): void {
    const address = (CONFIG_ENABLE | (target << 8) | (offset & 0xfc)) >>> 0
    this.#qtest.post('io', 32, CONFIG_ADDRESS, address, true)
  }
}

/** By PCI Express' memory window, 4096 bytes a function: one command an access. */
export class EcamConfigAccess implements ConfigAccess {
  readonly length = 4096
  readonly #qtest: Qtest
  readonly #base: number

  constructor(qtest: Qtest, base: number) {
    this.#qtest = qtest
    this.#base = base
  }

  read(target: FunctionNumber, offset: number, width: QtestWidth): number {
    return this.#qtest.read('memory', width, this.#base + target * 4096 + offset)
  }

  write(target: FunctionNumber, offset: number, width: QtestWidth, value: number): void {
    this.#qtest.write('memory', width, this.#base + target * 4096 + offset, value)
  }
}
