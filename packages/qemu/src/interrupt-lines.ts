import type { InterruptVector } from '@virtio-ts/pci'
import { EventVector } from '@virtio-ts/pci/event-vector'

/** How often a line that stays raised is looked at again, in milliseconds. */
const RECHECK_INTERVAL_MS = 2

interface Line {
  raised: boolean
  readonly vectors: Set<LineVector>
}

export interface InterruptLinesOptions {
  /** Begins to report changes of lines on the event loop; called while any vector is open. */
  readonly watch: () => () => void
}

/**
 * INTx lines: level-triggered, and shared by functions. QEMU reports edges only, so that a line that one function holds while
 * another one raises it says nothing new. What a processor's interrupt controller does is done here instead: as long as
 * a line is raised, whoever holds it is signalled again after every drain, and every few milliseconds.
 */
export class InterruptLines {
  readonly #options: InterruptLinesOptions
  readonly #lines = new Map<number, Line>()
  #open = 0
  #stopWatching: (() => void) | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: InterruptLinesOptions) {
    this.#options = options
  }

  /** Takes a change of a line. Signals descriptors and nothing else: it may come in the middle of a register access. */
  change(pin: number, raised: boolean): void {
    const line = this.#line(pin)
    line.raised = raised
    if (!raised) return
    for (const vector of line.vectors) vector.signal()
    this.#recheckLater()
  }

  /**
   * @param pin the function's line
   * @param holds whether the function raises its line now (the Interrupt Status bit)
   */
  open(pin: number, holds: () => boolean): LineVector {
    const line = this.#line(pin)
    const vector = new LineVector({
      holds,
      drained: (later) => {
        if (later) setImmediate(() => this.#recheck(line))
        else this.#recheck(line)
      },
      closed: () => {
        line.vectors.delete(vector)
        if (--this.#open === 0) this.#stop()
      },
    })
    line.vectors.add(vector)
    if (this.#open++ === 0) this.#stopWatching = this.#options.watch()
    return vector
  }

  #stop(): void {
    this.#stopWatching?.()
    this.#stopWatching = undefined
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #line(pin: number): Line {
    let line = this.#lines.get(pin)
    if (line === undefined) this.#lines.set(pin, (line = { raised: false, vectors: new Set() }))
    return line
  }

  #recheck(line: Line): void {
    if (!line.raised || line.vectors.size === 0) return
    for (const vector of [...line.vectors]) if (vector.holds()) vector.signal()
    this.#recheckLater()
  }

  /**
   * For lines that no drain of ours will bring up again: a function that nobody serves holds one that others raise
   * meanwhile, or a descriptor is read elsewhere.
   */
  #recheckLater(): void {
    // One timer for all lines, left to run out when they are lowered: under load that is cheaper than one per interrupt.
    if (this.#timer !== undefined || this.#open === 0) return
    const tick = (): void => {
      this.#timer = undefined
      for (const line of this.#lines.values()) this.#recheck(line)
    }
    this.#timer = setTimeout(tick, RECHECK_INTERVAL_MS).unref()
  }
}

interface LineVectorOptions {
  readonly holds: () => boolean
  /** @param later true when whoever drained has yet to make the device lower the line */
  readonly drained: (later: boolean) => void
  readonly closed: () => void
}

/** One function's view of its line. */
export class LineVector implements InterruptVector {
  readonly holds: () => boolean
  readonly #event = new EventVector()
  readonly #options: LineVectorOptions
  #closed = false

  constructor(options: LineVectorOptions) {
    this.holds = options.holds
    this.#options = options
  }

  get fd(): number {
    return this.#event.fd
  }

  signal(): void {
    this.#event.signal()
  }

  drain(): boolean {
    const fired = this.#event.drain()
    if (fired) this.#options.drained(true)
    return fired
  }

  watch(listener: () => void): () => void {
    return this.#event.watch(() => {
      try {
        listener()
      } finally {
        if (!this.#closed) this.#options.drained(false)
      }
    })
  }

  /** Stops the watch and closes the descriptor. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#event.close()
    this.#options.closed()
  }
}
