/** Memory of the caller's: one array, or several that stand for one. */
export type Bytes = Uint8Array | readonly Uint8Array[]

/** Several arrays as if they were one. */
export class ByteList {
  readonly length: number
  readonly #arrays: readonly Uint8Array[]
  /** Where each begins. */
  readonly #starts: readonly number[]

  constructor(bytes: Bytes) {
    this.#arrays = bytes instanceof Uint8Array ? [bytes] : bytes
    const starts: number[] = []
    let length = 0
    for (const array of this.#arrays) {
      starts.push(length)
      length += array.length
    }
    this.#starts = starts
    this.length = length
  }

  /** Fills `into` from what stands at `at`. */
  copyTo(into: Uint8Array, at: number): void {
    this.#each(at, into.length, (array, from, done, count) => into.set(array.subarray(from, from + count), done))
  }

  /** Puts `from` to `at`. */
  copyFrom(from: Uint8Array, at: number): void {
    this.#each(at, from.length, (array, to, done, count) => array.set(from.subarray(done, done + count), to))
  }

  #each(
    at: number,
    length: number,
    visit: (array: Uint8Array, offset: number, done: number, count: number) => void,
  ): void {
    let index = this.#indexOf(at)
    for (let done = 0; done < length; index++) {
      const array = this.#arrays[index]!
      const offset = at + done - this.#starts[index]!
      const count = Math.min(array.length - offset, length - done)
      if (count > 0) visit(array, offset, done, count)
      done += count
    }
  }

  /** The array that holds the byte at `at`. */
  #indexOf(at: number): number {
    let low = 0
    let high = this.#arrays.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.#starts[middle]! <= at) low = middle
      else high = middle - 1
    }
    return low
  }
}
