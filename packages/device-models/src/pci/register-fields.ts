import type { RegisterBlock, Width } from './register-block.ts'

export interface RegisterField {
  readonly name: string
  readonly offset: number
  readonly width: Width
  read(): number
  /** Left out for a register that is read-only for the driver. */
  write?(value: number): void
}

export interface FieldFaults {
  /** An access in another width than the register's. */
  width(field: RegisterField, width: Width): void
  /** A write to a read-only register. */
  readOnly(field: RegisterField): void
}

/** Registers as a table of fields. Reads of any width work, as they do on most devices; writes only in the field's own. */
export class RegisterFields implements RegisterBlock {
  readonly length: number
  readonly #fields: readonly RegisterField[]
  readonly #faults: FieldFaults

  constructor(length: number, fields: readonly RegisterField[], faults: FieldFaults) {
    this.length = length
    this.#fields = fields.filter(({ offset, width }) => offset + width <= length)
    this.#faults = faults
  }

  read(offset: number, width: Width): number {
    const field = this.#at(offset)
    if (!field) return 0
    if (field.offset === offset && field.width === width) return field.read()
    this.#faults.width(field, width)
    let value = 0
    for (let n = 0; n < width; n++) value += this.#byte(offset + n) * 2 ** (8 * n)
    return value
  }

  write(offset: number, width: Width, value: number): void {
    const field = this.#at(offset)
    if (!field) return
    if (field.offset !== offset || field.width !== width) this.#faults.width(field, width)
    else if (!field.write) this.#faults.readOnly(field)
    else field.write(value)
  }

  #at(offset: number): RegisterField | undefined {
    return this.#fields.find((field) => offset >= field.offset && offset < field.offset + field.width)
  }

  #byte(offset: number): number {
    const field = this.#at(offset)
    return field ? Math.floor(field.read() / 2 ** (8 * (offset - field.offset))) & 0xff : 0
  }
}
