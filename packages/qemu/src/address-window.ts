import { QemuError } from './qemu-error.ts'

/** A range of bus addresses, given out first-fit on natural boundaries. */
export class AddressWindow {
  readonly start: number
  /** First address behind the window. */
  readonly end: number
  /** For messages, e.g. `I/O`. */
  readonly name: string
  /** What is in use, in ascending order. */
  #used: { readonly start: number; readonly end: number }[] = []

  constructor(name: string, start: number, end: number) {
    this.name = name
    this.start = start
    this.end = end
  }

  /**
   * @param length a power of two
   * @throws QemuError `qemu.exhausted`
   */
  allocate(length: number): number {
    let candidate = roundUp(this.start, length)
    let index = 0
    for (const used of this.#used) {
      if (candidate + length <= used.start) break
      candidate = Math.max(candidate, roundUp(used.end, length))
      index++
    }
    if (candidate + length > this.end) {
      throw new QemuError('qemu.exhausted', `no ${length} bytes of ${this.name} addresses are left: use fewer devices`)
    }
    this.#used.splice(index, 0, { start: candidate, end: candidate + length })
    return candidate
  }

  /** @param start as `allocate` returned it */
  free(start: number): void {
    this.#used = this.#used.filter((used) => used.start !== start)
  }
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple
}
