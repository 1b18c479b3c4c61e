import type { PciBar } from './pci-function.ts'

/** A stretch of a BAR that is mapped. */
export interface MappedPart {
  readonly offset: number
  readonly bar: PciBar
}

/** A BAR of which only parts can be mapped: the rest, as a page with an MSI-X table, is reached by the file. */
export class SplitBar implements PciBar {
  readonly index: number
  readonly kind = 'memory'
  readonly length: number
  readonly #rest: PciBar
  readonly #parts: readonly MappedPart[]

  /** @param rest all of the BAR */
  constructor(rest: PciBar, parts: readonly MappedPart[]) {
    this.index = rest.index
    this.length = rest.length
    this.#rest = rest
    this.#parts = parts
  }

  read8(offset: number): number {
    const part = this.#partAt(offset, 1)
    return part === undefined ? this.#rest.read8(offset) : part.bar.read8(offset - part.offset)
  }

  read16(offset: number): number {
    const part = this.#partAt(offset, 2)
    return part === undefined ? this.#rest.read16(offset) : part.bar.read16(offset - part.offset)
  }

  read32(offset: number): number {
    const part = this.#partAt(offset, 4)
    return part === undefined ? this.#rest.read32(offset) : part.bar.read32(offset - part.offset)
  }

  write8(offset: number, value: number): void {
    const part = this.#partAt(offset, 1)
    if (part === undefined) this.#rest.write8(offset, value)
    else part.bar.write8(offset - part.offset, value)
  }

  write16(offset: number, value: number): void {
    const part = this.#partAt(offset, 2)
    if (part === undefined) this.#rest.write16(offset, value)
    else part.bar.write16(offset - part.offset, value)
  }

  write32(offset: number, value: number): void {
    const part = this.#partAt(offset, 4)
    if (part === undefined) this.#rest.write32(offset, value)
    else part.bar.write32(offset - part.offset, value)
  }

  notify(offset: number, value: number, width: 16 | 32): void {
    if (width === 16) this.write16(offset, value)
    else this.write32(offset, value)
  }

  #partAt(offset: number, width: number): MappedPart | undefined {
    for (const part of this.#parts) {
      if (offset >= part.offset && offset + width <= part.offset + part.bar.length) return part
    }
    return undefined
  }
}
