import type { Socket } from 'node:net'
import { Negotiation } from './negotiation.ts'
import type { NbdExport } from './nbd-export.ts'
import { ConnectionEnded, SocketReader } from './socket-reader.ts'
import { Transmission, type TransmissionLimits } from './transmission.ts'

export interface NbdConnectionOptions {
  readonly exports: readonly NbdExport[]
  readonly limits: TransmissionLimits
  /** Milliseconds that a client has to come to terms. */
  readonly negotiationTimeout: number
  /** Called when the client has its export. */
  readonly onReady: () => void
}

/** One client, from its greeting to its end. */
export class NbdConnection {
  readonly #socket: Socket
  readonly #options: NbdConnectionOptions
  #transmission: Transmission | undefined
  #closing = false
  /**
   * Resolves when the client is gone and nothing of it is under way any more, with what was wrong, if anything.
   */
  readonly ended: Promise<Error | undefined>

  constructor(socket: Socket, options: NbdConnectionOptions) {
    this.#socket = socket
    this.#options = options
    // Its reader notices.
    socket.on('error', () => {})
    this.ended = this.#run()
  }

  /** Bytes of payload and answers that are held for this client. */
  get held(): number {
    return this.#transmission?.held ?? 0
  }

  /** Answers what was taken, refuses what comes, hangs up. */
  async close(): Promise<void> {
    this.#closing = true
    this.#transmission?.shutDown()
    await this.#transmission?.idle()
    this.#hangUp()
    await this.ended
  }

  /** Hangs up at once. What the export is doing for this client, it does to its end. */
  destroy(): void {
    this.#socket.destroy()
  }

  async #run(): Promise<Error | undefined> {
    const reader = new SocketReader(this.#socket)
    let violation: Error | undefined
    try {
      await this.#serve(reader)
    } catch (error) {
      // Also what an export throws that cannot be had now: only newer clients can be told.
      if (!(error instanceof ConnectionEnded)) {
        violation = error as Error
        this.#socket.destroy()
      }
    }
    // Requests of a client that only stopped sending are answered.
    await this.#transmission?.idle()
    this.#hangUp()
    await this.#closed()
    return violation
  }

  async #serve(reader: SocketReader): Promise<void> {
    const { exports, limits, negotiationTimeout, onReady } = this.#options
    const timer = setTimeout(() => this.#socket.destroy(), negotiationTimeout)
    try {
      const agreement = await new Negotiation(this.#socket, reader, exports).run()
      if (agreement === undefined) return
      this.#transmission = new Transmission(this.#socket, reader, agreement, limits)
    } finally {
      clearTimeout(timer)
    }
    if (this.#closing) return
    onReady()
    await this.#transmission.run()
  }

  /** What is written leaves first; a client that does not take it is not waited for. */
  #hangUp(): void {
    if (this.#socket.destroyed) return
    this.#socket.end(() => this.#socket.destroy())
  }

  #closed(): Promise<void> {
    if (this.#socket.closed) return Promise.resolve()
    return new Promise((resolve) => this.#socket.once('close', () => resolve()))
  }
}
