import type { BlockStorage } from './block-storage.ts'

const SECTOR = 512
const CHUNK = 65536

/** Sectors in memory, which is taken only for those that were written. */
export class BlockStore implements BlockStorage {
  readonly #chunks = new Map<number, Uint8Array>()

  /** Bytes of memory taken. */
  get allocated(): number {
    return this.#chunks.size * CHUNK
  }

  read(sector: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length)
    this.#each(sector, length, (chunk, at, done, count) => {
      const stored = this.#chunks.get(chunk)
      if (stored) bytes.set(stored.subarray(at, at + count), done)
    })
    return bytes
  }

  write(sector: number, bytes: Uint8Array): void {
    this.#each(sector, bytes.length, (chunk, at, done, count) => {
      let stored = this.#chunks.get(chunk)
      if (!stored) this.#chunks.set(chunk, (stored = new Uint8Array(CHUNK)))
      stored.set(bytes.subarray(done, done + count), at)
    })
  }

  /** The range reads as zeroes. @param release gives memory back where it can */
  zero(sector: number, length: number, release: boolean): void {
    this.#each(sector, length, (chunk, at, _done, count) => {
      if (release && count === CHUNK) this.#chunks.delete(chunk)
      else this.#chunks.get(chunk)?.fill(0, at, at + count)
    })
  }

  /** Nothing outlives the process, whatever is done. */
  flush(): void {}

  #each(sector: number, length: number, visit: (chunk: number, at: number, done: number, count: number) => void): void {
    for (let done = 0; done < length; ) {
      const offset = sector * SECTOR + done
      const at = offset % CHUNK
      const count = Math.min(CHUNK - at, length - done)
      visit((offset - at) / CHUNK, at, done, count)
      done += count
    }
  }
}
