import { Transform, type TransformCallback } from 'node:stream'

/** Lets bytes through until the escape byte comes; that one and what is behind it go nowhere, and `escaped` resolves. */
export class EscapeFilter extends Transform {
  readonly escaped: Promise<void>
  readonly #byte: number | undefined
  #found = false
  #tell: () => void = () => {}

  /** @param byte undefined lets everything through */
  constructor(byte: number | undefined) {
    super()
    this.#byte = byte
    this.escaped = new Promise((resolve) => (this.#tell = resolve))
  }

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    if (this.#found) return done()
    const at = this.#byte === undefined ? -1 : chunk.indexOf(this.#byte)
    if (at < 0) return done(null, chunk)
    this.#found = true
    this.#tell()
    done(null, chunk.subarray(0, at))
  }
}
