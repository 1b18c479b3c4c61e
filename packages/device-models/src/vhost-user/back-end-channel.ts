import { close, read, sendWithFds, setBlocking, watchReadable } from '@virtio-ts/native'
import { VhostUser } from '@virtio-ts/spec'
import { encodeMessage } from './encode-message.ts'

const ignored = new Uint8Array(4096)

/** The second socket, on which the back-end sends requests of its own. It asks for no acknowledgements. */
export class BackEndChannel {
  readonly #fd: number
  #stopWatching: (() => void) | undefined
  #closed = false

  /** @param fd owned by the channel from now on, once this has not thrown */
  constructor(fd: number) {
    this.#fd = fd
    setBlocking(fd, false)
    this.#stopWatching = watchReadable(fd, () => this.#drain())
  }

  /** Sends a request. Where there is no room it is left out: the front-end has requests enough that it did not read. */
  send(request: number, payload: Uint8Array = new Uint8Array(0), fds: readonly number[] = []): void {
    this.sendBytes(encodeMessage(request, VhostUser.VERSION, payload), fds)
  }

  /** Sends bytes as they are: for profiles. @param fds stay open here */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (!this.#closed) sendWithFds(this.#fd, bytes, fds)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopWatching?.()
    close(this.#fd)
  }

  #drain(): void {
    if (read(this.#fd, ignored) <= 0) this.#stopReading()
  }

  /** The front-end has closed its end: it would be readable for ever. */
  #stopReading(): void {
    this.#stopWatching?.()
    this.#stopWatching = undefined
  }
}
