/** Cuts a byte stream into lines of bounded length, and gives back what follows the line it was stopped at. */
export class LineSplitter {
  readonly #maxLength: number
  #rest: Buffer = Buffer.alloc(0)

  /** @param maxLength bytes of a line at most */
  constructor(maxLength: number) {
    this.#maxLength = maxLength
  }

  push(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
  }

  /** The next whole line without its end, or undefined when there is none yet. @throws RangeError for one that is too long */
  next(): string | undefined {
    const end = this.#rest.indexOf(0x0a)
    if ((end < 0 ? this.#rest.length : end) > this.#maxLength)
      throw new RangeError(`a line has at most ${this.#maxLength} bytes`)
    if (end < 0) return undefined
    const line = this.#rest.toString('utf8', 0, end)
    this.#rest = this.#rest.subarray(end + 1)
    return line
  }

  /** Everything not yet given out, which is then gone from here. */
  takeRest(): Buffer {
    const rest = this.#rest
    this.#rest = Buffer.alloc(0)
    return rest
  }
}
