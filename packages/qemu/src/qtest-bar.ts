import { type PciBar, PciError } from '@virtio-ts/pci'
import type { PlacedBar } from './pci-topology.ts'
import type { Qtest, QtestSpace, QtestWidth } from './qtest.ts'

const ALL_ONES = { 8: 0xff, 16: 0xffff, 32: 0xffff_ffff } as const

/**
 * A BAR over the qtest wire. Writes have reached the device when they return; `notify` is posted. Once the function is gone
 * reads are all-ones and writes go nowhere.
 */
export class QtestBar implements PciBar {
  readonly index: number
  readonly kind: 'memory' | 'io'
  readonly length: number
  readonly #qtest: Qtest
  readonly #space: QtestSpace
  readonly #address: number
  readonly #gone: () => boolean

  /** @param gone whether the function can no longer be reached */
  constructor(qtest: Qtest, bar: PlacedBar, gone: () => boolean) {
    this.index = bar.index
    this.kind = bar.kind
    this.length = bar.length
    this.#qtest = qtest
    this.#space = bar.kind
    this.#address = bar.address
    this.#gone = gone
  }

  read8(offset: number): number {
    return this.#read(offset, 8)
  }
  read16(offset: number): number {
    return this.#read(offset, 16)
  }
  read32(offset: number): number {
    return this.#read(offset, 32)
  }
  write8(offset: number, value: number): void {
    this.#write(offset, 8, value)
  }
  write16(offset: number, value: number): void {
    this.#write(offset, 16, value)
  }
  write32(offset: number, value: number): void {
    this.#write(offset, 32, value)
  }

  notify(offset: number, value: number, width: 16 | 32): void {
    this.#check(offset, width)
    if (!this.#gone()) this.#qtest.post(this.#space, width, this.#address + offset, value)
  }

  #read(offset: number, width: QtestWidth): number {
    this.#check(offset, width)
    return this.#gone() ? ALL_ONES[width] : this.#qtest.read(this.#space, width, this.#address + offset)
  }

  #write(offset: number, width: QtestWidth, value: number): void {
    this.#check(offset, width)
    if (!this.#gone()) this.#qtest.write(this.#space, width, this.#address + offset, value)
  }

  #check(offset: number, width: QtestWidth): void {
    if (Number.isInteger(offset) && offset >= 0 && offset + width / 8 <= this.length) return
    const message = `${width / 8} bytes at ${offset} of BAR ${this.index}, which has ${this.length} bytes`
    throw new PciError('pci.bar-bounds', message)
  }
}
