import type { GuestProcess } from '../../../scripts/guest/linux-guest.mjs'

export interface LabEvent {
  readonly event: string
  readonly [key: string]: unknown
}

/** A netd in a guest. */
export class LabNetd {
  readonly #process: GuestProcess

  constructor(process: GuestProcess) {
    this.#process = process
  }

  get pid(): number {
    return this.#process.pid
  }

  get stderr(): string {
    return this.#process.stderr
  }

  /** What it has said so far, with `--json`. */
  get events(): readonly LabEvent[] {
    const lines = this.#process.stdout.split('\n').filter((line) => line.startsWith('{') && line.endsWith('}'))
    return lines.map((line) => JSON.parse(line) as LabEvent)
  }

  /** Waits for an event, also one that was before. @throws with all it said when it ends first */
  async event(name: string, timeoutSeconds = 150): Promise<LabEvent> {
    const line = await this.#process.waitForLine(new RegExp(`^\\{"event":"${name}"`), timeoutSeconds)
    return JSON.parse(line) as LabEvent
  }

  /** Sends a signal and waits for the end. @returns the exit code, or the signal that ended it */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | string | null> {
    this.#process.kill(signal)
    return this.exited
  }

  get exited(): Promise<number | string | null> {
    return this.#process.exited.then(({ code, signal }) => code ?? signal)
  }
}
