/**
 * Cuts a stream of bytes into lines ended by LF or CR LF, whatever pieces it arrives in. The bytes are taken as Latin-1 or
 * UTF-8 text.
 */
export class LineSplitter {
  readonly #encoding: 'latin1' | 'utf8'
  readonly #limit: number
  #pending: Buffer[] = []
  #pendingLength = 0

  /** @param limit longest line in bytes: one that is longer makes `push` throw RangeError */
  constructor(encoding: 'latin1' | 'utf8', limit: number) {
    this.#encoding = encoding
    this.#limit = limit
  }

  /** Calls `line` for every line that `bytes` completes. The bytes may be reused afterwards. */
  push(bytes: Uint8Array, line: (text: string) => void): void {
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    let start = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      const text = this.#complete(chunk, start, end)
      start = end + 1
      line(text)
    }
    if (start === chunk.length) return
    this.#pending.push(Buffer.from(chunk.subarray(start)))
    this.#pendingLength += chunk.length - start
    if (this.#pendingLength > this.#limit) throw new RangeError(`a line longer than ${this.#limit} bytes`)
  }

  /** What came after the last line's end. */
  get rest(): string {
    return Buffer.concat(this.#pending).toString(this.#encoding)
  }

  #complete(chunk: Buffer, start: number, end: number): string {
    const stop = end > start && chunk[end - 1] === 13 ? end - 1 : end
    if (this.#pendingLength === 0) return chunk.toString(this.#encoding, start, stop)
    const whole = Buffer.concat([...this.#pending, chunk.subarray(start, stop)])
    this.#pending = []
    this.#pendingLength = 0
    const text = whole.toString(this.#encoding)
    // the CR may have come in the piece before
    return text.endsWith('\r') ? text.slice(0, -1) : text
  }
}
