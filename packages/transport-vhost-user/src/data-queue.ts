import { close, eventfd, read, watchReadable, write } from '@virtio-ts/native'

const ONE: Uint8Array = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
const drained: Uint8Array = new Uint8Array(8)

/** The eventfds of a queue that the back-end serves. */
export class DataQueue {
  readonly index: number
  /** Written to for an available buffer notification. */
  readonly notifyFd: number
  /** Written to by the back-end for a used buffer notification. */
  readonly usedFd: number
  /** Written to by the back-end when it gives the queue up. */
  readonly errorFd: number
  /** Whether the back-end has been told of the queue: until it has been stopped, it may be at it. */
  started = false
  /** Whether it was told to use the queue. */
  on = false
  readonly #fds: number[] = []
  readonly #stops: (() => void)[] = []
  #watchesUsed = false

  /** @throws SystemError when no descriptors are left */
  constructor(index: number) {
    this.index = index
    try {
      this.notifyFd = this.#eventfd()
      this.usedFd = this.#eventfd()
      this.errorFd = this.#eventfd()
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** @returns 8, or the error number negated */
  notify(): number {
    return write(this.notifyFd, ONE)
  }

  /** From now on `listener` is called on the event loop at used buffer notifications. Does nothing the second time. */
  watchUsed(listener: () => void): void {
    if (this.#watchesUsed) return
    this.#watchesUsed = true
    this.#watch(this.usedFd, listener)
  }

  /** @param listener called when the back-end gives the queue up */
  watchError(listener: () => void): void {
    this.#watch(this.errorFd, listener)
  }

  /** Calls no listener any more; the descriptors stay open, as somebody in another thread may be using them. Idempotent. */
  stopWatching(): void {
    for (const stop of this.#stops.splice(0)) stop()
  }

  /** Idempotent. */
  close(): void {
    this.stopWatching()
    for (const fd of this.#fds.splice(0)) close(fd)
  }

  #watch(fd: number, listener: () => void): void {
    const stop = watchReadable(fd, () => {
      // A copy of the descriptor that the back-end has read empty in the meantime means nothing.
      if (read(fd, drained) === drained.length) listener()
    })
    this.#stops.push(stop)
  }

  #eventfd(): number {
    const fd = eventfd()
    this.#fds.push(fd)
    return fd
  }
}
