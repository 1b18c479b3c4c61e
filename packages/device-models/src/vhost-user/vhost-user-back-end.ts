import { rmSync, unlinkSync } from 'node:fs'
import { acceptUnix, close, connectUnix, listenUnix, SystemError, watchReadable } from '@virtio-ts/native'
import type { DeviceModel } from '../device-model.ts'
import type { Violation } from '../rules.ts'
import { ViolationLog } from '../violation-log.ts'
import type { VhostUserOptions, VhostUserServeOptions } from './vhost-user-options.ts'
import { VhostUserSession } from './vhost-user-session.ts'

const RETRY_MS = 100

/**
 * A software device as a vhost-user back-end: a front-end in this process or another one reaches it through a Unix socket and shared
 * memory. Serves one front-end at a time; the next one waits until the one before has gone, and finds a device that was reset.
 *
 * The front-end's memory is mapped. One that cuts off its file while it is in use ends this process (SIGBUS), unless it sealed the file
 * as front-ends should: serve strangers from a process of their own.
 * @see vhost-user "Vhost-user Protocol"
 */
export class VhostUserBackEnd<Model extends DeviceModel = DeviceModel> {
  readonly model: Model
  readonly #options: VhostUserOptions
  readonly #log = new ViolationLog()
  readonly #path: string | undefined
  #listening: number | undefined
  #stopWatching: (() => void) | undefined
  #session: VhostUserSession | undefined
  #sessions = 0
  #later: NodeJS.Timeout | undefined
  #closed = false

  private constructor(model: Model, options: VhostUserOptions, path?: string) {
    this.model = model
    this.#options = options
    this.#path = path
  }

  /**
   * Listens on a socket.
   * @throws SystemError `EADDRINUSE` when somebody else listens there, `EACCES`, `ENOENT`
   */
  static serve<Model extends DeviceModel>(model: Model, options: VhostUserServeOptions): VhostUserBackEnd<Model> {
    const backEnd = new VhostUserBackEnd(model, options, options.path)
    backEnd.#listening = listen(options.path)
    backEnd.#watch()
    return backEnd
  }

  /**
   * Serves the front-end at the other end of a connected socket.
   * @param fd owned by the back-end from now on
   */
  static attach<Model extends DeviceModel>(
    model: Model,
    fd: number,
    options: VhostUserOptions = {},
  ): VhostUserBackEnd<Model> {
    const backEnd = new VhostUserBackEnd(model, options)
    backEnd.#begin(fd)
    return backEnd
  }

  /** What front-ends and drivers did against protocol and specification so far. */
  get violations(): readonly Violation[] {
    return this.#log.list
  }

  /** The connection there is. */
  get session(): VhostUserSession | undefined {
    return this.#session
  }

  /** Connections there were, with the one there is. */
  get sessions(): number {
    return this.#sessions
  }

  /** Sends the front-end away, as when the program ends; the next one may come. */
  disconnect(): void {
    this.#session?.end('disconnected by the back-end')
  }

  /** Ends everything, and removes the socket. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopWatching?.()
    this.disconnect()
    if (this.#listening === undefined || this.#path === undefined) return
    clearTimeout(this.#later)
    close(this.#listening)
    rmSync(this.#path, { force: true })
  }

  [Symbol.dispose](): void {
    this.close()
  }

  #watch(): void {
    const listening = this.#listening
    if (listening === undefined || this.#closed) return
    this.#unlessShort(() => {
      this.#stopWatching = watchReadable(listening, () => this.#unlessShort(() => this.#accept(listening)))
    })
  }

  /** Where no descriptor is free a front-end goes on waiting, and is looked after again a while later. */
  #unlessShort(attempt: () => void): void {
    try {
      attempt()
    } catch (error) {
      if (!(error instanceof SystemError)) throw error
      this.#stopWatching?.()
      this.#later = setTimeout(() => this.#watch(), RETRY_MS)
    }
  }

  #accept(listening: number): void {
    const fd = acceptUnix(listening)
    if (fd === undefined) return
    // One at a time: who comes now waits in the socket's queue.
    this.#stopWatching?.()
    this.#begin(fd)
  }

  #begin(fd: number): void {
    this.#sessions++
    const { model } = this
    const session = new VhostUserSession({
      model,
      fd,
      options: this.#options,
      violations: this.#log,
      onEnd: (reason) => {
        this.#session = undefined
        model.onReset()
        this.#options.onSession?.('disconnected', reason)
        this.#watch()
      },
    })
    this.#session = session
    this.#options.onSession?.('connected', '')
    try {
      session.start()
    } catch (error) {
      session.end((error as Error).message)
      throw error
    }
  }
}

/** A socket that was left behind is in the way of its successor. */
function listen(path: string): number {
  try {
    return listenUnix(path)
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== 'EADDRINUSE' || isServed(path)) throw error
    unlinkSync(path)
    return listenUnix(path)
  }
}

function isServed(path: string): boolean {
  try {
    close(connectUnix(path))
    return true
  } catch (error) {
    return !(error instanceof SystemError && error.code === 'ECONNREFUSED')
  }
}
