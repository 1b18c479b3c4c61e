import { BackEndRequests } from './back-end-requests.ts'
import { FrontEnd } from './front-end.ts'
import { VhostUserConnection } from './vhost-user-connection.ts'
import { type MemoryOptions, VhostUserMemory } from './vhost-user-memory.ts'

export interface SessionOptions {
  readonly path: string
  /** Milliseconds a request may take. */
  readonly timeout: number
  readonly memory: MemoryOptions
}

/** One connection and what lives as long as it does. Nothing of it is ever used for the next one. */
export class Session {
  readonly connection: VhostUserConnection
  readonly frontEnd: FrontEnd
  readonly memory: VhostUserMemory
  #requests: BackEndRequests | undefined
  #onConfigChange: () => void = () => {}

  private constructor(connection: VhostUserConnection, frontEnd: FrontEnd, memory: VhostUserMemory) {
    this.connection = connection
    this.frontEnd = frontEnd
    this.memory = memory
  }

  /**
   * Comes to an agreement with the back-end, and makes memory.
   * @param fd a connected socket, closed with the session, or here when it fails
   */
  static async open(fd: number, options: SessionOptions): Promise<Session> {
    const connection = new VhostUserConnection(fd, options)
    try {
      const frontEnd = await FrontEnd.negotiate(connection)
      const session = new Session(connection, frontEnd, new VhostUserMemory(options.path, options.memory))
      try {
        if (frontEnd.has('BACKEND_REQ')) await session.#listen()
        return session
      } catch (error) {
        session.end()
        throw error
      }
    } catch (error) {
      connection.close()
      throw error
    }
  }

  get path(): string {
    return this.connection.path
  }

  /** One listener; a later one takes its place. */
  onConfigChange(listener: () => void): void {
    this.#onConfigChange = listener
  }

  /** Idempotent. @param reason why, where it was not its user's wish */
  end(reason?: Error): void {
    this.connection.close()
    this.#requests?.close()
    this.memory.retire(reason)
  }

  async #listen(): Promise<void> {
    this.#requests = await BackEndRequests.open(this.frontEnd, {
      path: this.path,
      onConfigChange: () => this.#onConfigChange(),
      onViolation: (reason) => this.connection.fail(reason),
    })
  }
}
