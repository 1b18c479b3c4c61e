import type { Writable } from 'node:stream'
import { formatSize } from '../disk/size.ts'

const WIDTH = 30
const INTERVAL = 100

/** A progress bar on a terminal; nothing anywhere else. */
export class Progress {
  readonly #stream: Writable & { readonly isTTY?: boolean }
  readonly #total: number
  readonly #begun: number = performance.now()
  #shownAt = 0
  #shown = ''

  constructor(stream: Writable, total: number) {
    this.#stream = stream
    this.#total = total
  }

  show(done: number): void {
    const now = performance.now()
    if (this.#stream.isTTY !== true || (now - this.#shownAt < INTERVAL && done < this.#total)) return
    this.#shownAt = now
    const line = progressLine(done, this.#total, (now - this.#begun) / 1000)
    this.#stream.write(`\r${line.padEnd(this.#shown.length)}`)
    this.#shown = line
  }

  /** Takes the bar away. */
  end(): void {
    if (this.#shown !== '') this.#stream.write(`\r${' '.repeat(this.#shown.length)}\r`)
    this.#shown = ''
  }
}

export function progressLine(done: number, total: number, seconds: number): string {
  const part = total === 0 ? 1 : done / total
  const bar = '#'.repeat(Math.floor(part * WIDTH)).padEnd(WIDTH, '.')
  const rate = seconds > 0 ? done / seconds : 0
  const left = rate > 0 ? `, ${Math.ceil((total - done) / rate)} s left` : ''
  return `[${bar}] ${Math.floor(part * 100)} %  ${formatSize(done)} of ${formatSize(total)}, ${formatSize(Math.round(rate))}/s${left}`
}
