/**
 * Keeps the qtest commands of a bench, as text that QEMU itself plays back: give the same command line `-qtest stdio` and the
 * trace on its standard input. Register accesses only: what a driver writes into shared memory passes no wire.
 *
 *     const recorder = new QtestRecorder()
 *     const bench = await QemuBench.start({ devices, record: recorder.record })
 *     ...
 *     writeFileSync('trace.txt', recorder.toString())
 */
export class QtestRecorder {
  readonly #limit: number
  #commands: string[] = []
  #dropped = 0

  /** @param limit commands kept; of a longer run the first are dropped, and the trace no longer starts at the reset */
  constructor(limit = 1_000_000) {
    this.#limit = limit
  }

  /** For `QemuBenchOptions.record`. */
  readonly record: (command: string) => void = (command) => {
    this.#commands.push(command)
    if (this.#commands.length <= 2 * this.#limit) return
    // dropped in bulk: one by one would move the whole list for every command
    this.#dropped += this.#commands.length - this.#limit
    this.#commands = this.#commands.slice(-this.#limit)
  }

  /** Oldest first. */
  get commands(): readonly string[] {
    return this.#commands.slice(-this.#limit)
  }

  /** Commands that are no longer kept. */
  get dropped(): number {
    return this.#dropped + Math.max(0, this.#commands.length - this.#limit)
  }

  clear(): void {
    this.#commands = []
    this.#dropped = 0
  }

  /** One command a line. */
  toString(): string {
    return this.commands.map((command) => `${command}\n`).join('')
  }
}
