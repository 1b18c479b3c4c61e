import { exitNow, rawModes, setTerminalModes, type TerminalModes, terminalModes } from '@virtio-ts/native'

/**
 * A terminal in raw mode, until `restore()`. Its modes are put back in every way in which this process can end, but SIGKILL: also when it
 * exits in the middle of something.
 */
export class RawTerminal {
  readonly #fd: number
  readonly #modes: TerminalModes
  readonly #exit = (code: number): void => {
    this.restore()
    // Node 20 aborts when it finds at its end that its terminal has been hung up.
    if (this.#hungUp) exitNow(code)
  }
  readonly #resume = (): void => {
    try {
      this.#enter()
    } catch {
      // Hung up meanwhile: its end is told by its stream.
    }
  }
  #restored = false
  #hungUp = false

  /** @returns undefined where `fd` is no terminal @throws SystemError */
  static enter(fd: number): RawTerminal | undefined {
    const modes = terminalModes(fd)
    return modes && new RawTerminal(fd, modes)
  }

  private constructor(fd: number, modes: TerminalModes) {
    this.#fd = fd
    this.#modes = modes
    process.on('exit', this.#exit)
    // A shell puts its own modes back when it lets a stopped program go on.
    process.on('SIGCONT', this.#resume)
    this.#enter()
  }

  #enter(): void {
    setTerminalModes(this.#fd, rawModes(this.#modes))
  }

  get isRaw(): boolean {
    return !this.#restored
  }

  /** Idempotent. Never throws: a terminal that was hung up has no modes that matter. */
  restore(): void {
    if (this.#restored) return
    this.#restored = true
    process.off('SIGCONT', this.#resume)
    try {
      setTerminalModes(this.#fd, this.#modes)
      process.off('exit', this.#exit)
    } catch {
      this.#hungUp = true
    }
  }
}
