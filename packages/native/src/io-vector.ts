import { errno, libc } from './libc.ts'

// limits.h: the kernel takes no more pieces in one call
const IOV_MAX = 1024
const WORDS_PER_ENTRY = 4

/**
 * Pieces of memory that one system call reads into or writes from. Fill, use, clear, fill again: nothing is allocated
 * after construction. It keeps addresses only, so whoever appends keeps the memory alive and mapped until the call.
 */
export class IoVector {
  readonly #capacity: number
  // struct iovec { void *base; size_t length; } as halves of 32 bits: 64-bit stores would need a BigInt each
  readonly #words: Uint32Array
  readonly #bytes: Uint8Array
  #count = 0

  /** @param capacity pieces, 1 to 1024 */
  constructor(capacity: number) {
    if (!Number.isInteger(capacity) || capacity < 1 || capacity > IOV_MAX) {
      throw new RangeError(`an IoVector has 1 to ${IOV_MAX} pieces, not ${capacity}`)
    }
    this.#capacity = capacity
    this.#words = new Uint32Array(capacity * WORDS_PER_ENTRY)
    this.#bytes = new Uint8Array(this.#words.buffer)
  }

  /** Pieces appended since the last `clear`. */
  get count(): number {
    return this.#count
  }

  clear(): void {
    this.#count = 0
  }

  /**
   * @param address of `addressOf` or `Mapping.address`
   * @param length bytes, below 2^32
   * @throws RangeError when the vector is full
   */
  append(address: number, length: number): void {
    if (this.#count === this.#capacity) throw new RangeError(`the IoVector is full with ${this.#capacity} pieces`)
    const word = this.#count * WORDS_PER_ENTRY
    this.#words[word] = address
    this.#words[word + 1] = address / 0x1_0000_0000
    this.#words[word + 2] = length
    this.#words[word + 3] = 0
    this.#count += 1
  }

  /** @returns bytes written, which may be fewer than there are, or the error number negated */
  writeTo(fd: number): number {
    const count = libc.writev(fd, this.#bytes, this.#count)
    return count < 0 ? -errno() : count
  }

  /** @returns bytes read, or the error number negated */
  readFrom(fd: number): number {
    const count = libc.readv(fd, this.#bytes, this.#count)
    return count < 0 ? -errno() : count
  }
}
