import { constants } from 'node:os'
import { close, eventfd, read, setBlocking, watchReadable, write } from '@virtio-ts/native'
import type { InterruptVector } from './pci-function.ts'

const { EAGAIN, EINTR } = constants.errno

// Larger than what one read can return of an eventfd, so that a short read means: nothing is left.
const scratch = new Uint8Array(512)
const one = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)

/**
 * An interrupt vector over a file descriptor: an eventfd, which is what kernels signal, or a stream socket, of which any byte is a
 * signal (a process that was handed the other end of a socket pair in place of an eventfd writes eight bytes each time).
 */
export class EventVector implements InterruptVector {
  readonly fd: number
  readonly #ownsFd: boolean
  #stopWatching: (() => void) | undefined
  #ended = false
  #closed = false

  /**
   * @param fd becomes non-blocking; a new eventfd, owned, when left out
   * @param options `ownsFd`: whether `close()` closes the descriptor. @defaultValue false for a given one
   * @throws SystemError when `fd` is not an open descriptor
   */
  constructor(fd?: number, options: { readonly ownsFd?: boolean } = {}) {
    if (fd === undefined) {
      this.fd = eventfd()
      this.#ownsFd = true
    } else {
      setBlocking(fd, false)
      this.fd = fd
      this.#ownsFd = options.ownsFd ?? false
    }
  }

  /** A vector over an eventfd of its own. */
  static create(): EventVector {
    return new EventVector()
  }

  /** True when the other end of the socket is closed: nothing will signal this vector any more. */
  get ended(): boolean {
    return this.#ended
  }

  /**
   * Fires the interrupt: what a device inside this process does. For an eventfd; on a socket it would signal the other end.
   * Without effect after `close()`, when the number may belong to another file.
   */
  signal(): void {
    // EAGAIN means the counter is at its end: the vector is readable already, which is all a signal says.
    if (!this.#closed) write(this.fd, one)
  }

  drain(): boolean {
    let fired = false
    while (!this.#closed && !this.#ended) {
      const count = read(this.fd, scratch)
      if (count > 0) {
        fired = true
        if (count < scratch.length) break
      } else if (count !== -EINTR) {
        this.#ended = count !== -EAGAIN
        break
      }
    }
    return fired
  }

  watch(listener: () => void): () => void {
    if (this.#closed) throw new Error('this interrupt vector is closed; watch it before closing it')
    if (this.#stopWatching)
      throw new Error('this interrupt vector is watched already; stop the first watch before the second')
    const stopNative = watchReadable(this.fd, () => {
      const fired = this.drain()
      // The end of a socket stays readable for ever: without this the event loop would spin on it.
      if (this.#ended) stop()
      if (fired) listener()
    })
    const stop = (): void => {
      if (this.#stopWatching !== stop) return
      this.#stopWatching = undefined
      stopNative()
    }
    this.#stopWatching = stop
    return stop
  }

  /** Stops the watch, and closes the descriptor where it is owned. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#stopWatching?.()
    this.#closed = true
    if (this.#ownsFd) close(this.fd)
  }
}
