import { checkAccess } from './bar-bounds.ts'
import type { Decoding } from './decoding.ts'
import type { PciBar } from './pci-function.ts'

/** Reads and writes of a file that stands for registers: pread and pwrite, one access each. */
export interface RegisterFile {
  /** @returns bytes read, or the error number negated */
  readAt(into: Uint8Array, offset: number): number
  /** @returns bytes written, or the error number negated */
  writeAt(from: Uint8Array, offset: number): number
}

/** Registers reached by reading and writing a file at their offset: I/O ports, and what cannot be mapped. */
export class FileBar implements PciBar {
  readonly index: number
  readonly kind: 'memory' | 'io'
  readonly length: number
  readonly #file: RegisterFile
  readonly #decoding: Decoding
  readonly #onFailure: (errno: number) => void
  readonly #one = new Uint8Array(1)
  readonly #two = new Uint8Array(2)
  readonly #four = new Uint8Array(4)

  /** @param onFailure told the error number of an access that was refused; the access reads as all-ones */
  constructor(
    place: { readonly index: number; readonly kind: 'memory' | 'io'; readonly length: number },
    file: RegisterFile,
    decoding: Decoding,
    onFailure: (errno: number) => void,
  ) {
    this.index = place.index
    this.kind = place.kind
    this.length = place.length
    this.#file = file
    this.#decoding = decoding
    this.#onFailure = onFailure
  }

  read8(offset: number): number {
    return this.#read(offset, this.#one) ? (this.#one[0] as number) : 0xff
  }

  read16(offset: number): number {
    const two = this.#two
    return this.#read(offset, two) ? (two[0] as number) | ((two[1] as number) << 8) : 0xffff
  }

  read32(offset: number): number {
    const four = this.#four
    if (!this.#read(offset, four)) return 0xffff_ffff
    return (
      ((four[0] as number) | ((four[1] as number) << 8) | ((four[2] as number) << 16) | ((four[3] as number) << 24)) >>>
      0
    )
  }

  write8(offset: number, value: number): void {
    this.#one[0] = value
    this.#write(offset, this.#one)
  }

  write16(offset: number, value: number): void {
    this.#two[0] = value
    this.#two[1] = value >>> 8
    this.#write(offset, this.#two)
  }

  write32(offset: number, value: number): void {
    const four = this.#four
    four[0] = value
    four[1] = value >>> 8
    four[2] = value >>> 16
    four[3] = value >>> 24
    this.#write(offset, four)
  }

  notify(offset: number, value: number, width: 16 | 32): void {
    if (width === 16) this.write16(offset, value)
    else this.write32(offset, value)
  }

  #read(offset: number, into: Uint8Array): boolean {
    checkAccess(this, offset, into.length)
    if (!this.#answers()) return false
    const count = this.#file.readAt(into, offset)
    if (count < 0) this.#onFailure(-count)
    return count === into.length
  }

  #write(offset: number, from: Uint8Array): void {
    checkAccess(this, offset, from.length)
    if (!this.#answers()) return
    const count = this.#file.writeAt(from, offset)
    if (count < 0) this.#onFailure(-count)
  }

  #answers(): boolean {
    return this.#decoding.present && (this.kind === 'io' || this.#decoding.memory)
  }
}
