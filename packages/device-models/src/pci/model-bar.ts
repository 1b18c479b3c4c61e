import { type PciBar, PciError } from '@virtio-ts/pci'
import { allOnes, type RegisterBlock, type Width } from './register-block.ts'

/** Registers at an offset into the BAR. */
export interface PlacedBlock {
  readonly offset: number
  readonly block: RegisterBlock
}

export interface ModelBarOptions {
  readonly index: number
  readonly kind: 'memory' | 'io'
  readonly length: number
  readonly blocks: readonly PlacedBlock[]
  /** Called before each access; false when nothing answers: not decoded, or gone. @throws PciError when closed */
  reach(): boolean
}

/** One base address register of a software device. */
export class ModelBar implements PciBar {
  readonly index: number
  readonly kind: 'memory' | 'io'
  readonly length: number
  readonly #blocks: readonly PlacedBlock[]
  readonly #reach: () => boolean

  constructor(options: ModelBarOptions) {
    this.index = options.index
    this.kind = options.kind
    this.length = options.length
    this.#blocks = options.blocks
    this.#reach = () => options.reach()
  }

  read8(offset: number): number {
    return this.read(offset, 1)
  }

  read16(offset: number): number {
    return this.read(offset, 2)
  }

  read32(offset: number): number {
    return this.read(offset, 4)
  }

  write8(offset: number, value: number): void {
    this.write(offset, 1, value)
  }

  write16(offset: number, value: number): void {
    this.write(offset, 2, value)
  }

  write32(offset: number, value: number): void {
    this.write(offset, 4, value)
  }

  notify(offset: number, value: number, width: 16 | 32): void {
    this.write(offset, width === 16 ? 2 : 4, value)
  }

  /** Where no register is, reads give 0 and writes are lost. */
  read(offset: number, width: Width): number {
    this.#check(offset, width)
    if (!this.#reach()) return allOnes(width)
    const found = this.#find(offset)
    return found ? found.block.read(offset - found.offset, width) : 0
  }

  write(offset: number, width: Width, value: number): void {
    this.#check(offset, width)
    if (!this.#reach()) return
    const found = this.#find(offset)
    // Like the bus, keep the low bits of a value that is too wide.
    found?.block.write(offset - found.offset, width, width === 4 ? value >>> 0 : value & allOnes(width))
  }

  #find(offset: number): PlacedBlock | undefined {
    return this.#blocks.find((placed) => offset >= placed.offset && offset < placed.offset + placed.block.length)
  }

  #check(offset: number, width: Width): void {
    if (Number.isInteger(offset) && offset >= 0 && offset + width <= this.length) return
    throw new PciError(
      'pci.bar-bounds',
      `access of ${width} bytes at ${offset} is outside BAR ${this.index} of ${this.length} bytes; check offset and length of the structure`,
    )
  }
}
