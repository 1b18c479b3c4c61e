import { closeSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A raw image, sparse, in a folder of its own. */
export class DiskImage {
  readonly folder: string
  readonly path: string

  /** @param size bytes */
  constructor(size: number = 16 * 2 ** 20) {
    this.folder = mkdtempSync(join(tmpdir(), 'vts-block-'))
    this.path = join(this.folder, 'disk.img')
    const file = openSync(this.path, 'w')
    ftruncateSync(file, size)
    closeSync(file)
  }

  /** Bytes of the image, as the file system has them. */
  stored(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    const file = openSync(this.path, 'r')
    readSync(file, bytes, 0, length, offset)
    closeSync(file)
    return bytes
  }

  /** Bytes it takes on its file system: `du`. */
  allocated(): number {
    return statSync(this.path).blocks * 512
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
