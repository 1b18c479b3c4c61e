import { createServer, type Server, type Socket } from 'node:net'
import { MAX_PAYLOAD } from './constants.ts'
import { NbdConnection } from './nbd-connection.ts'
import type { NbdExport } from './nbd-export.ts'

export interface NbdServerOptions {
  /** At least one; the first is also the one without a name. */
  readonly exports: readonly NbdExport[]
  /** Clients at a time; one more is hung up on. @defaultValue 64 */
  readonly maxClients?: number
  /** Requests of one client that may be outstanding before no more are read. @defaultValue 128 */
  readonly maxRequests?: number
  /** Bytes of payload and answers of one client that may be; a single request may be longer. @defaultValue 32 MiB */
  readonly maxBytes?: number
  /** Milliseconds that a client has to come to terms. @defaultValue 30 000 */
  readonly negotiationTimeout?: number
  /** A client has its export. */
  readonly onConnect?: (client: number) => void
  /** A client that had its export is gone. @param violation what was wrong with what it sent */
  readonly onDisconnect?: (client: number, violation: Error | undefined) => void
}

/**
 * Serves disks by the Network Block Device protocol. Where it listens is its owner's business: `server.listen(...)`.
 *
 * @example
 * ```ts
 * const nbd = new NbdServer({ exports: [{ name: 'disk', connect: () => session }] })
 * nbd.server.listen('/run/disk.sock')
 * ```
 */
export class NbdServer {
  /** To listen with; half-open, as a client may stop sending before it has read everything. */
  readonly server: Server
  readonly #options: NbdServerOptions
  readonly #connections = new Set<NbdConnection>()
  #clients = 0
  #closing = false

  constructor(options: NbdServerOptions) {
    this.#options = options
    this.server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket))
    this.server.maxConnections = options.maxClients ?? 64
  }

  /** Connected clients, those that are still negotiating too. */
  get clients(): number {
    return this.#connections.size
  }

  /** Bytes of payload and answers that are held for clients. */
  get held(): number {
    return [...this.#connections].reduce((sum, { held }) => sum + held, 0)
  }

  /**
   * Takes no more clients, answers the requests that were taken, refuses others, and hangs up.
   * @param patience milliseconds after which clients are hung up on whatever they wait for
   */
  async close(patience: number): Promise<void> {
    this.#closing = true
    this.server.close()
    const timer = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy()
    }, patience)
    const given = new Promise<void>((resolve) => setTimeout(resolve, patience).unref())
    await Promise.race([Promise.all([...this.#connections].map((connection) => connection.close())), given])
    clearTimeout(timer)
    for (const connection of this.#connections) connection.destroy()
  }

  #accept(socket: Socket): void {
    if (this.#closing) {
      socket.destroy()
      return
    }
    const client = ++this.#clients
    const { exports, maxRequests = 128, maxBytes = MAX_PAYLOAD, negotiationTimeout = 30_000 } = this.#options
    let ready = false
    const connection = new NbdConnection(socket, {
      exports,
      limits: { requests: maxRequests, bytes: maxBytes },
      negotiationTimeout,
      onReady: () => {
        ready = true
        this.#options.onConnect?.(client)
      },
    })
    this.#connections.add(connection)
    void connection.ended.then((violation) => {
      this.#connections.delete(connection)
      if (ready || violation) this.#options.onDisconnect?.(client, violation)
    })
  }
}
