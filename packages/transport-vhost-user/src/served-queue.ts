import type { DriverRing } from './driver-ring.ts'

export interface ServedQueueOptions {
  readonly ring: DriverRing
  /** Carries out a command. @returns the answer, one byte */
  readonly obey: (command: Uint8Array) => Promise<number>
  /** The driver is to look at its ring. */
  readonly onUsed: () => void
  /** The ring holds what no driver puts there. */
  readonly onBroken: (reason: Error) => void
}

/** Commands taken before everybody else gets a turn. */
const BATCH = 16

/** A queue whose device is this front-end: takes commands, one after the other, and answers each in its first writable byte. */
export class ServedQueue {
  readonly #options: ServedQueueOptions
  #serving = false
  #stopped = false

  constructor(options: ServedQueueOptions) {
    this.#options = options
  }

  /** There may be something available. Returns at once. */
  notify(): void {
    if (this.#serving || this.#stopped) return
    this.#serving = true
    void this.#serve()
  }

  /** Touches the ring no more, a command under way included. */
  stop(): void {
    this.#stopped = true
  }

  async #serve(): Promise<void> {
    const { ring, obey, onUsed, onBroken } = this.#options
    try {
      for (let taken = 1; !this.#stopped; taken++) {
        const chain = ring.take()
        if (chain === undefined) break
        const answer = await obey(chain.readable)
        if (this.#stopped) break
        const target = chain.writable.find(({ length }) => length > 0)
        if (target !== undefined) target[0] = answer
        ring.use(chain, target === undefined ? 0 : 1)
        // As a notification would come: not out of the driver's own call, and with its exceptions its own.
        queueMicrotask(onUsed)
        if (taken % BATCH === 0) await new Promise((resolve) => setImmediate(resolve))
      }
    } catch (error) {
      if (!this.#stopped) {
        this.#stopped = true
        onBroken(error instanceof Error ? error : new Error(String(error)))
      }
    } finally {
      this.#serving = false
    }
  }
}
