import type { PciConfigAccess } from './pci-config.ts'

/** A configuration space in memory, for tests: bytes, of which the writable ones keep what `writable` lets through. */
export class ConfigSpace implements PciConfigAccess {
  readonly bytes: Uint8Array
  /** Bits that can be written, by byte; all others keep their value. */
  readonly writable: Uint8Array
  reads = 0

  constructor(bytes: Uint8Array = new Uint8Array(256)) {
    this.bytes = bytes
    this.writable = new Uint8Array(bytes.length)
  }

  /** A device with the given capabilities, chained in this order from 0x40 on. */
  static withCapabilities(...capabilities: readonly (readonly number[])[]): ConfigSpace {
    const space = new ConfigSpace()
    space.bytes.set([0xf4, 0x1a], 0)
    space.bytes[0x06] = 0x10
    let pointerAt = 0x34
    let at = 0x40
    for (const capability of capabilities) {
      space.bytes.set(capability, at)
      space.bytes[pointerAt] = at
      space.bytes[at + 1] = 0
      pointerAt = at + 1
      at += (capability.length + 3) & ~3
    }
    return space
  }

  configRead8(offset: number): number {
    return this.#read(offset, 1)
  }

  configRead16(offset: number): number {
    return this.#read(offset, 2)
  }

  configRead32(offset: number): number {
    return this.#read(offset, 4)
  }

  configWrite8(offset: number, value: number): void {
    this.#write(offset, 1, value)
  }

  configWrite16(offset: number, value: number): void {
    this.#write(offset, 2, value)
  }

  configWrite32(offset: number, value: number): void {
    this.#write(offset, 4, value)
  }

  #read(offset: number, width: number): number {
    this.reads++
    this.#check(offset, width)
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (this.bytes[offset + i] ?? 0)
    return value
  }

  #write(offset: number, width: number, value: number): void {
    this.#check(offset, width)
    for (let i = 0; i < width; i++) {
      const mask = this.writable[offset + i] ?? 0
      this.bytes[offset + i] = ((this.bytes[offset + i] ?? 0) & ~mask) | (Math.floor(value / 256 ** i) & mask)
    }
  }

  // A bus may do anything with an access out of the space, so a parser that makes one is wrong.
  #check(offset: number, width: number): void {
    if (offset < 0 || offset + width > this.bytes.length)
      throw new Error(`configuration access of ${width} bytes at ${offset}`)
  }
}
