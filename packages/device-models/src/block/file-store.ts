import { constants, fstatSync } from 'node:fs'
import { close, Errno, open, punchHole, readAt, SystemError, syncData, writeAt } from '@virtio-ts/native'
import type { BlockStorage } from './block-storage.ts'

const SECTOR = 512
/** Zeroes written at a time. */
const zeroes = new Uint8Array(256 * 1024)

/**
 * A raw image file. What is written is in the system's cache, and outlives this process; only `flush()` makes it outlive the system. Every call
 * is carried out before it returns, so nothing is ever in flight.
 */
export class FileStore implements BlockStorage {
  readonly path: string
  readonly #fd: number
  #failed: SystemError | undefined
  #closed = false

  private constructor(path: string, fd: number) {
    this.path = path
    this.#fd = fd
  }

  /** @throws SystemError when the file is not there, or may not be opened this way; RangeError when it is no regular file */
  static open(path: string, { readOnly = false }: { readonly readOnly?: boolean } = {}): FileStore {
    const fd = open(path, readOnly ? constants.O_RDONLY : constants.O_RDWR)
    if (fstatSync(fd).isFile()) return new FileStore(path, fd)
    close(fd)
    throw new RangeError(`${path} is no regular file: give the path of a raw image`)
  }

  /** Whole sectors of 512 bytes that the file has now. */
  get sectors(): number {
    return Math.floor(fstatSync(this.#fd).size / SECTOR)
  }

  get allocated(): number {
    return fstatSync(this.#fd).blocks * SECTOR
  }

  /** What the file has lost meanwhile reads as zeroes. */
  read(sector: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    for (let done = 0; done < length; ) {
      const count = this.#moved('pread', readAt(this.#fd, bytes.subarray(done), sector * SECTOR + done))
      if (count === 0) break
      done += count
    }
    return bytes
  }

  write(sector: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      done += this.#moved('pwrite', writeAt(this.#fd, bytes.subarray(done), sector * SECTOR + done))
    }
  }

  zero(sector: number, length: number, release: boolean): void {
    if (release && length > 0 && this.#punch(sector * SECTOR, length)) return
    for (let done = 0; done < length; done += zeroes.length) {
      this.write(sector + done / SECTOR, zeroes.subarray(0, Math.min(zeroes.length, length - done)))
    }
  }

  /** After one that failed each fails: the system forgets what it could not write, and tells of it once. */
  flush(): void {
    if (this.#failed) throw this.#failed
    try {
      syncData(this.#fd)
    } catch (error) {
      this.#failed = error as SystemError
      throw error
    }
  }

  /** Flushes, and lets go of the file. Idempotent. @throws SystemError when what was written may be lost */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    try {
      this.flush()
    } finally {
      close(this.#fd)
    }
  }

  #moved(syscall: string, count: number): number {
    if (count < 0) throw new SystemError(syscall, -count, this.path)
    return count
  }

  /** @returns whether the file system knows holes */
  #punch(offset: number, length: number): boolean {
    try {
      punchHole(this.#fd, offset, length)
      return true
    } catch (error) {
      if (error instanceof SystemError && error.errno === Errno.EOPNOTSUPP) return false
      throw error
    }
  }
}
