import { close, Errno, SystemError, sendWithFds, watchReadable } from '@virtio-ts/native'
import { VhostUser, VhostUserRequest, type VirtioError } from '@virtio-ts/spec'
import { disconnectedError, protocolError, timeoutError } from './connection-error.ts'
import { MessageReader } from './message-reader.ts'
import { encodeMessage, type MessageHeader, requestName } from './messages.ts'

export interface ConnectionOptions {
  /** The socket's path, for people. */
  readonly path: string
  /** Milliseconds a request may take until its reply is there. */
  readonly timeout: number
}

export interface SendOptions {
  /** Descriptors to go with the request; they stay the caller's. */
  readonly fds?: readonly number[]
  /** Whether the back-end is asked to confirm a request that has no reply of its own (REPLY_ACK). */
  readonly needReply?: boolean
}

/** A reply; `fds` are the receiver's to close. */
export interface Reply {
  readonly payload: Uint8Array
  readonly fds: readonly number[]
}

interface Outstanding {
  readonly request: number
  readonly wantedFds: number
  readonly resolve: (reply: Reply) => void
  readonly reject: (reason: VirtioError) => void
}

const LONGEST_PAUSE_MS = 32
const NOTHING: Reply = { payload: new Uint8Array(0), fds: [] }

/**
 * The front-end's end of the socket: one request at a time, each with a deadline. A reply that does not fit its request, or one that
 * does not come, ends the connection: nothing after it could be understood.
 */
export class VhostUserConnection {
  readonly path: string
  readonly #fd: number
  readonly #timeout: number
  readonly #reader: MessageReader
  readonly #stopWatching: () => void
  readonly #listeners: ((reason: VirtioError) => void)[] = []
  /** Ends when every request so far is done with. */
  #last: Promise<unknown> = Promise.resolve()
  #outstanding: Outstanding | undefined
  #ended: VirtioError | undefined

  /** @param fd a connected, non-blocking Unix socket, owned by this object from now on */
  constructor(fd: number, { path, timeout }: ConnectionOptions) {
    this.path = path
    this.#fd = fd
    this.#timeout = timeout
    this.#reader = new MessageReader(fd)
    this.#stopWatching = watchReadable(fd, () => this.#receive())
  }

  /** Why the connection ended; undefined while it stands. */
  get ended(): VirtioError | undefined {
    return this.#ended
  }

  /** Calls `listener` once, when the connection ends or if it has, other than by `close()`. */
  onEnd(listener: (reason: VirtioError) => void): void {
    const ended = this.#ended
    if (ended) queueMicrotask(() => listener(ended))
    else this.#listeners.push(listener)
  }

  /**
   * Sends a request that has no reply; with `needReply` one is waited for all the same.
   * @returns the reply, empty without `needReply`
   * @throws VirtioError `vhost-user.disconnected`, `vhost-user.protocol`, `vhost-user.timeout`; the connection has ended by then
   */
  send(request: number, payload: Uint8Array, options: SendOptions = {}): Promise<Reply> {
    const { fds = [], needReply = false } = options
    return this.#inTurn(async (deadline) => {
      if (!needReply) {
        await this.#write(encodeMessage(request, 0, payload), fds, request, deadline)
        return NOTHING
      }
      return this.#exchange(encodeMessage(request, VhostUser.FLAG_NEED_REPLY, payload), fds, request, 0, deadline)
    })
  }

  /**
   * Sends a request and waits for its reply.
   * @param wantedFds descriptors that may come with the reply; others are closed
   * @throws as `send`
   */
  ask(request: number, payload: Uint8Array, wantedFds = 0): Promise<Reply> {
    return this.#inTurn((deadline) =>
      this.#exchange(encodeMessage(request, 0, payload), [], request, wantedFds, deadline),
    )
  }

  /** Ends the connection for a reason that only its user could see. @returns the reason it ended with, an earlier one if there is */
  fail(reason: VirtioError): VirtioError {
    if (this.#ended) return this.#ended
    this.#end(reason)
    for (const listener of this.#listeners.splice(0)) queueMicrotask(() => listener(reason))
    return reason
  }

  /** Closes the socket; `onEnd` is not told. Idempotent. */
  close(): void {
    this.#listeners.length = 0
    if (!this.#ended) this.#end(disconnectedError(this.path))
  }

  #end(reason: VirtioError): void {
    this.#ended = reason
    this.#stopWatching()
    this.#reader.discard()
    close(this.#fd)
    const outstanding = this.#outstanding
    this.#outstanding = undefined
    outstanding?.reject(reason)
  }

  #inTurn<Result>(body: (deadline: number) => Promise<Result>): Promise<Result> {
    const turn = this.#last.then(() => {
      if (this.#ended) throw this.#ended
      return body(performance.now() + this.#timeout)
    })
    this.#last = turn.catch(() => {})
    return turn
  }

  async #exchange(
    bytes: Uint8Array,
    fds: readonly number[],
    request: number,
    wantedFds: number,
    deadline: number,
  ): Promise<Reply> {
    // Before the request is out: the reply may be there as soon as the back-end has read it.
    const reply = new Promise<Reply>((resolve, reject) => {
      this.#outstanding = { request, wantedFds, resolve, reject }
    })
    reply.catch(() => {})
    await this.#write(bytes, fds, request, deadline)
    const timer = setTimeout(() => this.#expire(request), Math.max(0, deadline - performance.now()))
    try {
      return await reply
    } finally {
      clearTimeout(timer)
    }
  }

  /** A socket that is full is one whose back-end does not read: it gets until the deadline. */
  async #write(bytes: Uint8Array, fds: readonly number[], request: number, deadline: number): Promise<void> {
    let sent = 0
    let pause = 1
    while (sent < bytes.length) {
      // Descriptors went with the first bytes.
      const count = sendWithFds(this.#fd, bytes.subarray(sent), sent === 0 ? fds : [])
      if (count > 0) sent += count
      else if (count !== -Errno.EAGAIN && count !== -Errno.EINTR) {
        throw this.fail(disconnectedError(this.path, new SystemError('sendmsg', -count)))
      } else {
        if (performance.now() >= deadline) throw this.fail(this.#late(request))
        await new Promise((resolve) => setTimeout(resolve, pause))
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS)
        if (this.#ended) throw this.#ended
      }
    }
  }

  /** Timers come before sockets: after a long turn of the event loop the reply may be there, unread. */
  #expire(request: number): void {
    const late = this.#outstanding
    this.#receive()
    if (late !== undefined && this.#outstanding === late) this.fail(this.#late(request))
  }

  #receive(): void {
    if (this.#ended) return
    try {
      for (;;) {
        const message = this.#reader.next((header) => this.#check(header), this.#outstanding?.wantedFds ?? 0)
        if (message === undefined) return
        if (message === 'end') return void this.fail(disconnectedError(this.path))
        const outstanding = this.#outstanding as Outstanding
        this.#outstanding = undefined
        outstanding.resolve({ payload: message.payload, fds: message.fds })
      }
    } catch (error) {
      this.fail(this.#reasonOf(error))
    }
  }

  #check({ request, flags }: MessageHeader): void {
    const name = requestName(VhostUserRequest, request)
    const detail = { request, flags }
    if ((flags & VhostUser.VERSION_MASK) !== VhostUser.VERSION)
      throw protocolError(this.path, `a message of version ${flags & VhostUser.VERSION_MASK}`, detail)
    if ((flags & VhostUser.FLAG_REPLY) === 0) throw protocolError(this.path, `${name} that is no reply`, detail)
    const wanted = this.#outstanding?.request
    if (wanted === undefined) throw protocolError(this.path, `a reply to ${name}, which was not asked`, detail)
    if (request !== wanted)
      throw protocolError(this.path, `a reply to ${name} instead of ${requestName(VhostUserRequest, wanted)}`, detail)
  }

  #reasonOf(error: unknown): VirtioError {
    // More descriptors than this process can hold, or than a message can carry.
    if (error instanceof SystemError && error.errno === Errno.EMSGSIZE) return protocolError(this.path, error.message)
    if (error instanceof SystemError) return disconnectedError(this.path, error)
    if (error instanceof RangeError) return protocolError(this.path, error.message)
    return error as VirtioError
  }

  #late(request: number): VirtioError {
    return timeoutError(this.path, requestName(VhostUserRequest, request), this.#timeout)
  }
}
