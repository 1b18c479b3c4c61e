/** The last part of a text that comes in pieces, cut at a line where possible. */
export class TextTail {
  readonly #limit: number
  #text = ''

  /** @param limit in characters */
  constructor(limit: number) {
    this.#limit = limit
  }

  append(piece: string): void {
    this.#text += piece
    if (this.#text.length <= this.#limit) return
    const cut = this.#text.slice(-this.#limit)
    const lineStart = cut.indexOf('\n') + 1
    this.#text = lineStart < cut.length ? cut.slice(lineStart) : cut
  }

  toString(): string {
    return this.#text
  }
}
