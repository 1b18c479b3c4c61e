import type { RegisterFile } from './file-bar.ts'
import { PciConfig, type PciConfigAccess } from './pci-config.ts'
import { PciError } from './pci-function.ts'

/** Bytes of configuration space that PCI Express has. */
const EXTENDED_LENGTH = 4096

/** Configuration space as a file: VFIO's region 7, sysfs's `config`. */
export class ConfigFile implements PciConfigAccess {
  readonly #file: RegisterFile
  readonly #onFailure: (errno: number) => void
  readonly #onWrite: (offset: number) => void
  readonly #buffers = [new Uint8Array(0), new Uint8Array(1), new Uint8Array(2), new Uint8Array(0), new Uint8Array(4)]

  /**
   * @param onFailure told the error number of an access that was refused; it reads as all-ones
   * @param onWrite told of each write after it was made
   */
  constructor(file: RegisterFile, onFailure: (errno: number) => void, onWrite: (offset: number) => void) {
    this.#file = file
    this.#onFailure = onFailure
    this.#onWrite = onWrite
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

  /** Sets some bits of the command register and clears others. */
  changeCommand(set: number, clear: number): void {
    const before = this.configRead16(PciConfig.COMMAND)
    const after = (before & ~clear) | set
    if (after !== before) this.configWrite16(PciConfig.COMMAND, after)
  }

  #read(offset: number, width: 1 | 2 | 4): number {
    checkConfigAccess(offset, width)
    const bytes = this.#buffers[width] as Uint8Array
    const count = this.#file.readAt(bytes, offset)
    if (count < 0) this.#onFailure(-count)
    if (count !== width) return 2 ** (8 * width) - 1
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (bytes[i] as number)
    return value
  }

  #write(offset: number, width: 1 | 2 | 4, value: number): void {
    checkConfigAccess(offset, width)
    const bytes = this.#buffers[width] as Uint8Array
    for (let i = 0; i < width; i++) bytes[i] = value >>> (8 * i)
    const count = this.#file.writeAt(bytes, offset)
    if (count < 0) this.#onFailure(-count)
    this.#onWrite(offset)
  }
}

function checkConfigAccess(offset: number, width: number): void {
  if (offset >= 0 && offset + width <= EXTENDED_LENGTH && offset % width === 0) return
  throw new PciError(
    'pci.access',
    `configuration space has no ${width} bytes at ${offset}: accesses are aligned, within ${EXTENDED_LENGTH} bytes`,
  )
}
