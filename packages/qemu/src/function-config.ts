import { PciConfig, type PciConfigAccess, PciError } from '@virtio-ts/pci'
import type { ConfigAccess, FunctionNumber } from './config-access.ts'
import type { QtestWidth } from './qtest.ts'

/** Configuration space of one function, as drivers see it. */
export class FunctionConfig implements PciConfigAccess {
  readonly number: FunctionNumber
  readonly #access: ConfigAccess

  constructor(access: ConfigAccess, number: FunctionNumber) {
    this.#access = access
    this.number = number
  }

  /** Whether a function answers. */
  get present(): boolean {
    return this.configRead16(PciConfig.VENDOR_ID) !== PciConfig.NO_VENDOR
  }

  configRead8(offset: number): number {
    return this.#read(offset, 8)
  }
  configRead16(offset: number): number {
    return this.#read(offset, 16)
  }
  configRead32(offset: number): number {
    return this.#read(offset, 32)
  }
  configWrite8(offset: number, value: number): void {
    this.#write(offset, 8, value)
  }
  configWrite16(offset: number, value: number): void {
    this.#write(offset, 16, value)
  }
  configWrite32(offset: number, value: number): void {
    this.#write(offset, 32, value)
  }

  /** Reads a 16-bit register, and writes it back with some bits set and others cleared. */
  change16(offset: number, set: number, clear: number): void {
    this.configWrite16(offset, (this.configRead16(offset) & ~clear) | set)
  }

  #read(offset: number, width: QtestWidth): number {
    this.#check(offset, width)
    return this.#access.read(this.number, offset, width)
  }

  #write(offset: number, width: QtestWidth, value: number): void {
    this.#check(offset, width)
    this.#access.write(this.number, offset, width, value)
  }

  #check(offset: number, width: QtestWidth): void {
    const bytes = width / 8
    if (Number.isInteger(offset) && offset >= 0 && offset % bytes === 0 && offset + bytes <= this.#access.length) return
    const message =
      `${bytes} bytes at ${offset} of configuration space: it has ${this.#access.length} bytes here, ` +
      'and accesses are aligned'
    throw new PciError('pci.access', message)
  }
}
