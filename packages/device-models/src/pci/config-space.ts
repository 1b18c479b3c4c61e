import type { Width } from './register-block.ts'

/** Offsets in the type 0 configuration header, and the bits this bus model looks at. */
export const PciHeader = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION: 0x08,
  CLASS_CODE: 0x09,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  CAPABILITIES: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  COMMAND_IO: 1,
  COMMAND_MEMORY: 2,
  COMMAND_BUS_MASTER: 4,
  COMMAND_INTX_DISABLE: 0x400,
  STATUS_INTERRUPT: 8,
  STATUS_CAPABILITIES: 0x10,
} as const

const LENGTH = 256

/** The 256 bytes of a PCI function's configuration space, with the bits that the driver may change. */
export class ConfigSpace {
  readonly bytes: Uint8Array = new Uint8Array(LENGTH)
  readonly #view = new DataView(this.bytes.buffer)
  readonly #writable = new Uint8Array(LENGTH)

  /** Beyond the 256 bytes nothing answers. */
  read(offset: number, width: Width): number {
    let value = 0
    for (let n = width - 1; n >= 0; n--) value = value * 256 + (this.bytes[offset + n] ?? 0xff)
    return value
  }

  write(offset: number, width: Width, value: number): void {
    for (let n = 0; n < width; n++) {
      const mask = this.#writable[offset + n]
      const before = this.bytes[offset + n]
      if (mask === undefined || before === undefined) continue
      this.bytes[offset + n] = (before & ~mask) | ((value >>> (8 * n)) & mask)
    }
  }

  /** Whether any bit here is the driver's to change. */
  isWritable(offset: number, width: Width): boolean {
    return this.#writable.subarray(offset, offset + width).some((mask) => mask !== 0)
  }

  set8(offset: number, value: number): void {
    this.#view.setUint8(offset, value)
  }

  set16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, true)
  }

  set32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true)
  }

  get16(offset: number): number {
    return this.#view.getUint16(offset, true)
  }

  get32(offset: number): number {
    return this.#view.getUint32(offset, true)
  }

  /** Lets the driver change the bits of `mask`, which is `width` bytes wide. */
  allow(offset: number, width: Width, mask: number): void {
    for (let n = 0; n < width; n++) this.#writable[offset + n] = (mask >>> (8 * n)) & 0xff
  }

  /**
   * A base address register: its address bits can be written, the bits below its length read as 0, so that writing all-ones and reading
   * back tells the length.
   */
  addBar(index: number, kind: 'memory' | 'io', length: number, wide: boolean, address: number): void {
    const offset = PciHeader.BAR0 + 4 * index
    const fixed = kind === 'io' ? 1 : wide ? 0xc : 0
    this.allow(offset, 4, ~(length - 1) & (kind === 'io' ? ~0x3 : ~0xf))
    this.set32(offset, address | fixed)
    if (wide) this.allow(offset + 4, 4, 0xffffffff)
  }
}
