import type { Decoding } from './decoding.ts'
import { checkAccess } from './bar-bounds.ts'
import type { PciBar } from './pci-function.ts'

/**
 * Registers in memory. Elements of typed arrays of the register's width are the one way in which JavaScript makes exactly
 * one access of exactly that width: a DataView splits accesses into bytes until it is optimised, and Atomics.store reads as
 * well as it writes.
 */
export class MappedBar implements PciBar {
  readonly index: number
  readonly kind = 'memory'
  readonly length: number
  readonly #decoding: Decoding
  readonly #bytes: Uint8Array
  readonly #halves: Uint16Array
  readonly #words: Uint32Array

  /** @param bytes the registers, at a multiple of 4 in their buffer; they stay mapped for as long as `decoding` says they answer */
  constructor(index: number, bytes: Uint8Array, decoding: Decoding) {
    this.index = index
    this.length = bytes.length
    this.#decoding = decoding
    this.#bytes = bytes
    this.#halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length >> 1)
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
  }

  read8(offset: number): number {
    checkAccess(this, offset, 1)
    return this.#answers() ? (this.#bytes[offset] as number) : 0xff
  }

  read16(offset: number): number {
    checkAccess(this, offset, 2)
    return this.#answers() ? (this.#halves[offset >> 1] as number) : 0xffff
  }

  read32(offset: number): number {
    checkAccess(this, offset, 4)
    return this.#answers() ? (this.#words[offset >> 2] as number) : 0xffff_ffff
  }

  write8(offset: number, value: number): void {
    checkAccess(this, offset, 1)
    if (this.#answers()) this.#bytes[offset] = value
  }

  write16(offset: number, value: number): void {
    checkAccess(this, offset, 2)
    if (this.#answers()) this.#halves[offset >> 1] = value
  }

  write32(offset: number, value: number): void {
    checkAccess(this, offset, 4)
    if (this.#answers()) this.#words[offset >> 2] = value
  }

  notify(offset: number, value: number, width: 16 | 32): void {
    if (width === 16) this.write16(offset, value)
    else this.write32(offset, value)
  }

  #answers(): boolean {
    return this.#decoding.present && this.#decoding.memory
  }
}
