import { join } from 'node:path'
import type { ConfigFile } from '../config-file.ts'
import type { DeviceDirectory } from '../device-directory.ts'
import { LevelVector } from '../level-vector.ts'
import { PciCommand } from '../pci-config.ts'
import { PciError } from '../pci-function.ts'
import { UIO_DRIVER } from './sysfs-checks.ts'
import type { SysfsSystem } from './sysfs-system.ts'

/** A read takes the number of interrupts so far: 32 bits, and neither more nor less. */
const COUNT_LENGTH = 4

/** A function's INTx line through uio_pci_generic, which masks it in the command register whenever it fires. */
export class UioLine {
  readonly #vector: LevelVector
  readonly #system: SysfsSystem
  readonly #config: ConfigFile
  readonly #fd: number

  private constructor(system: SysfsSystem, fd: number, config: ConfigFile, onEnd: (errno: number) => void) {
    this.#system = system
    this.#fd = fd
    this.#config = config
    this.#vector = new LevelVector({ fd, readLength: COUNT_LENGTH, rearm: () => this.#unmask(), onEnd })
  }

  /**
   * Opens the function's /dev/uioN, when uio_pci_generic has it; undefined otherwise.
   * @throws PciError `pci.in-use`, `pci.permission`
   */
  static open(
    system: SysfsSystem,
    directory: DeviceDirectory,
    config: ConfigFile,
    onEnd: (errno: number) => void,
  ): UioLine | undefined {
    if (directory.driver !== UIO_DRIVER) return undefined
    const name = directory.list('uio').find((entry) => /^uio\d+$/.test(entry))
    if (name === undefined) return undefined
    const path = join(system.paths.dev, name)
    let fd: number
    try {
      fd = system.open(path)
    } catch (error) {
      throw new PciError(
        'pci.permission',
        `${path}, which brings the interrupts of ${directory.address}, does not open: ${(error as Error).message}; run as root, or unbind ${UIO_DRIVER} and poll`,
        { cause: error },
      )
    }
    return new UioLine(system, fd, config, onEnd)
  }

  /** The line, unmasked. */
  get vector(): LevelVector {
    this.#unmask()
    return this.#vector
  }

  close(): void {
    this.#vector.close()
    this.#config.changeCommand(PciCommand.INTX_DISABLE, 0)
    this.#system.close(this.#fd)
  }

  #unmask(): void {
    this.#config.changeCommand(0, PciCommand.INTX_DISABLE)
  }
}
