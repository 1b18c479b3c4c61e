import { close, Errno, SystemError, sendWithFds, socketPair, watchReadable } from '@virtio-ts/native'
import { VhostUser, VhostUserBackEndRequest, VirtioError } from '@virtio-ts/spec'
import { protocolError } from './connection-error.ts'
import type { FrontEnd } from './front-end.ts'
import { MessageReader } from './message-reader.ts'
import { encodeMessage, encodeU64, type MessageHeader, requestName } from './messages.ts'

export interface BackEndRequestsOptions {
  readonly path: string
  /** The back-end says that its configuration space has changed. */
  readonly onConfigChange: () => void
  /** It did what it must not: the connection is to be closed. */
  readonly onViolation: (reason: VirtioError) => void
}

/** Messages taken in one go; more than any honest back-end sends. */
const BATCH = 64

/**
 * The channel on which the back-end asks. Of all it could ask for, this front-end negotiated but the notification of configuration changes:
 * anything else, memory of the back-end's to be mapped above all, ends the connection.
 */
export class BackEndRequests {
  readonly #options: BackEndRequestsOptions
  readonly #fd: number
  readonly #reader: MessageReader
  readonly #stopWatching: () => void
  #closed = false

  private constructor(fd: number, options: BackEndRequestsOptions) {
    this.#fd = fd
    this.#options = options
    this.#reader = new MessageReader(fd)
    this.#stopWatching = watchReadable(fd, () => this.#receive())
  }

  /** Gives the back-end its end. Only with BACKEND_REQ. */
  static async open(frontEnd: FrontEnd, options: BackEndRequestsOptions): Promise<BackEndRequests> {
    const [ours, theirs] = socketPair()
    const requests = new BackEndRequests(ours, options)
    try {
      await frontEnd.setBackEndChannel(theirs)
      return requests
    } catch (error) {
      requests.close()
      throw error
    } finally {
      close(theirs)
    }
  }

  /** Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopWatching()
    this.#reader.discard()
    close(this.#fd)
  }

  #receive(): void {
    try {
      for (let taken = 0; taken < BATCH && !this.#closed; taken++) {
        const message = this.#reader.next((header) => this.#check(header), 0)
        if (message === undefined) return
        // That it wants to ask nothing any more is no fault: the other socket tells when it is gone.
        if (message === 'end') return this.close()
        this.#answer(message)
        this.#options.onConfigChange()
      }
    } catch (error) {
      this.close()
      this.#options.onViolation(this.#reasonOf(error))
    }
  }

  #check({ request, flags, size }: MessageHeader): void {
    const name = requestName(VhostUserBackEndRequest, request)
    const detail = { request, flags, size }
    if ((flags & VhostUser.VERSION_MASK) !== VhostUser.VERSION || (flags & VhostUser.FLAG_REPLY) !== 0)
      throw protocolError(this.#options.path, `a request of its own (${name}) with flags ${flags}`, detail)
    if (request !== VhostUserBackEndRequest.CONFIG_CHANGE_MSG)
      throw protocolError(this.#options.path, `it asked for ${name}, which was not negotiated`, detail)
  }

  /** Whether the answer can be sent does not matter here: a back-end that does not take it waits for nothing but that. */
  #answer({ request, flags }: MessageHeader): void {
    if ((flags & VhostUser.FLAG_NEED_REPLY) === 0) return
    sendWithFds(this.#fd, encodeMessage(request, VhostUser.FLAG_REPLY, encodeU64(0)), [])
  }

  #reasonOf(error: unknown): VirtioError {
    if (error instanceof VirtioError) return error
    const { path } = this.#options
    if (error instanceof SystemError && error.errno !== Errno.EMSGSIZE)
      return protocolError(path, `its own channel failed: ${error.message}`)
    return protocolError(path, error instanceof Error ? error.message : String(error))
  }
}
