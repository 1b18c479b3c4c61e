import type { BlockDriver } from '@virtio-ts/driver-block'
import { NbdError, type NbdExport, type NbdExportInfo, type NbdSession, type NbdZeroOptions } from '@virtio-ts/nbd'
import type { Disk } from './disk.ts'
import { nbdErrorOf } from './nbd-error-of.ts'
import { SharedLock } from './shared-lock.ts'
import { blockEnd, blockStart, isAligned, reachableSize, readBytes, writeBytes } from './unaligned.ts'

/** Requests below this are slow with everybody. */
const PREFERRED = 4096

export interface BlockExportOptions {
  /** @defaultValue '' */
  readonly name?: string
  readonly description?: string
  /** @defaultValue false: as the device is */
  readonly readOnly?: boolean
}

/** A disk as an NBD export. One for each disk: it sees to it that requests that touch parts of blocks do not get in each other's way. */
export function blockExport(disk: Disk, options: BlockExportOptions = {}): NbdExport {
  const { name = '', description, readOnly = false } = options
  const lock = new SharedLock()
  return {
    name,
    ...(description === undefined ? {} : { description }),
    connect: () => new BlockSession(disk, lock, infoOf(disk.driver, readOnly)),
  }
}

/** Clients write anywhere, and in any order: what a host-managed zoned device does not take. */
export function isReadOnly(driver: BlockDriver): boolean {
  return driver.readOnly || driver.zoned?.model === 'host-managed'
}

function infoOf(driver: BlockDriver, readOnly: boolean): NbdExportInfo {
  const { physicalBlockSize = 0 } = driver.limits.topology ?? {}
  return {
    size: reachableSize(driver),
    readOnly: readOnly || isReadOnly(driver),
    // A device that states more than anybody has is not believed.
    preferredBlockSize: Math.max(PREFERRED, driver.blockSize, physicalBlockSize <= 2 ** 20 ? physicalBlockSize : 0),
    trim: driver.features.has('DISCARD'),
    writeZeroes: driver.features.has('WRITE_ZEROES'),
    // All clients have one device with one cache, and its flush is for every write that was confirmed.
    multiConn: true,
  }
}

/** One client's view. Its requests go to the device that is there when they come. */
class BlockSession implements NbdSession {
  readonly info: NbdExportInfo
  readonly #disk: Disk
  readonly #lock: SharedLock
  #lossesTold: number

  constructor(disk: Disk, lock: SharedLock, info: NbdExportInfo) {
    this.#disk = disk
    this.#lock = lock
    this.info = info
    this.#lossesTold = disk.losses
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    try {
      return await readBytes(this.#disk.driver, offset, length)
    } catch (error) {
      throw nbdErrorOf(error, false)
    }
  }

  write(offset: number, pieces: readonly Uint8Array[], fua: boolean): Promise<void> {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
    return this.#change(offset, length, fua, true, (driver) => writeBytes(driver, offset, pieces))
  }

  async flush(): Promise<void> {
    try {
      await this.#disk.flush(this.#disk.driver)
    } catch (error) {
      throw nbdErrorOf(error, false)
    }
    const { losses } = this.#disk
    if (losses === this.#lossesTold) return
    this.#lossesTold = losses
    throw new NbdError('EIO', 'the device failed, and what was written before and not flushed may be lost')
  }

  /** Whole blocks of the range; the rest stays: it is a hint. */
  trim(offset: number, length: number, fua: boolean): Promise<void> {
    return this.#change(0, 0, fua, false, async (driver) => {
      const start = blockEnd(driver, offset)
      const end = blockStart(driver, offset + length)
      if (end > start) await driver.discard(start, end - start)
    })
  }

  writeZeroes(offset: number, length: number, { noHole, fast }: NbdZeroOptions, fua: boolean): Promise<void> {
    return this.#change(offset, length, fua, true, async (driver) => {
      // To give storage back takes no time; whether zeroes that keep it are written by hand, the device does not say.
      const unmap = driver.mayUnmap && !noHole
      if (fast && !unmap) throw new NbdError('ENOTSUP', 'whether this is faster than to write the zeroes is not known')
      const start = Math.min(offset + length, blockEnd(driver, offset))
      const end = Math.max(start, blockStart(driver, offset + length))
      await writeBytes(driver, offset, [new Uint8Array(start - offset)])
      if (end > start) await driver.writeZeroes(start, end - start, { unmap })
      await writeBytes(driver, end, [new Uint8Array(offset + length - end)])
    })
  }

  /** @param writes whether it needs room */
  async #change(
    offset: number,
    length: number,
    fua: boolean,
    writes: boolean,
    operation: (driver: BlockDriver) => Promise<void>,
  ): Promise<void> {
    try {
      // One driver for all of it: a flush of the next one says nothing of what this one wrote.
      const { driver } = this.#disk
      await this.#disk.change(() => this.#lock.run(!isAligned(driver, offset, length), () => operation(driver)))
      // Whatever the device says of its cache: one that keeps nothing back has nothing to do.
      if (fua) await this.#disk.flush(driver)
    } catch (error) {
      throw nbdErrorOf(error, writes)
    }
  }
}
