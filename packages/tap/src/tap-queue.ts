import { close, Errno, IoVector, ioctl, read, watchReadable, write } from '@virtio-ts/native'
import { TunFlag, TunRequest } from './if-tun.ts'
import { InterfaceRequest } from './interface-request.ts'
import { explained } from './tap-error.ts'

/**
 * One queue of a TAP: frames out of the kernel and into it, each with its header (`Tap.headerLength` bytes) in front, one
 * a call. May be used from a worker: by `fd`, with the functions of `@virtio-ts/native`.
 */
export class TapQueue {
  readonly #onGone: () => void
  readonly #watches = new Set<() => void>()
  #fd: number

  /** @param fd owned by this object from now on */
  constructor(fd: number, onGone: () => void) {
    this.#fd = fd
    this.#onGone = onGone
  }

  /** Non-blocking; -1 after close. */
  get fd(): number {
    return this.#fd
  }

  /**
   * Takes the next frame that the kernel sends out of the interface. Of a frame longer than `into` the rest is lost without a
   * word: `MAX_TAP_READ` bytes hold any frame.
   *
   * @returns bytes, or the error number negated: `EAGAIN` none there now, `EBADFD` the interface is gone (`Tap.onGone` is
   * called as well), `EBADF` closed
   */
  read(into: Uint8Array | IoVector): number {
    const count = into instanceof IoVector ? into.readFrom(this.#fd) : read(this.#fd, into)
    if (count === -Errno.EBADFD) this.#onGone()
    return count
  }

  /**
   * Hands the kernel a frame, as if it had come in on the interface. The kernel checks little of the header: it takes
   * GSO types that do not fit the frame, and trusts DATA_VALID. Check it first when it comes from a device.
   *
   * @returns bytes, all of them, or the error number negated: `EINVAL` header or frame refused (this one frame is lost),
   * `EIO` the interface is down (wait for `Tap.onChange`), `EAGAIN` or `ENOBUFS` no room now, `EBADFD` the interface is gone,
   * `EBADF` closed
   */
  write(from: Uint8Array | IoVector): number {
    const count = from instanceof IoVector ? from.writeTo(this.#fd) : write(this.#fd, from)
    if (count === -Errno.EBADFD) this.#onGone()
    return count
  }

  /**
   * Calls `listener` on the event loop while there is a frame to read, or the interface is gone (read, then: it says
   * so). Keeps the process alive until the returned function is called.
   */
  onReadable(listener: () => void): () => void {
    const stopWatch = watchReadable(this.#fd, listener)
    this.#watches.add(stopWatch)
    return () => {
      this.#watches.delete(stopWatch)
      stopWatch()
    }
  }

  /**
   * Whether the kernel sends frames here; only for a TAP of several queues. A queue that is detached keeps its place.
   *
   * @throws TapError
   */
  setAttached(attached: boolean): void {
    const request = new InterfaceRequest('')
    request.value.setUint16(0, attached ? TunFlag.ATTACH_QUEUE : TunFlag.DETACH_QUEUE, true)
    explained('the TAP', `${attached ? 'attach' : 'detach'} a queue of`, () =>
      ioctl(this.#fd, TunRequest.SETQUEUE, request.bytes),
    )
  }

  /** Ends its watches, too. Idempotent. */
  close(): void {
    if (this.#fd === -1) return
    for (const stopWatch of this.#watches) stopWatch()
    this.#watches.clear()
    close(this.#fd)
    this.#fd = -1
  }
}
