import { constants } from 'node:os'
import { read, setBlocking, watchReadable } from '@virtio-ts/native'
import type { InterruptVector } from './pci-function.ts'

const { EAGAIN, EINTR } = constants.errno

export interface LevelVectorOptions {
  /** Stays the caller's to close, after `close()`. Becomes non-blocking. */
  readonly fd: number
  /** Bytes that one read takes: 8 of an eventfd, 4 of a /dev/uio file. */
  readonly readLength: number
  /** Lets the interrupt through again: the kernel masked it as it fired. */
  readonly rearm: () => void
  /** Told when the descriptor says that nothing will come any more; not after `close()`. */
  readonly onEnd?: (errno: number) => void
}

/**
 * A level-triggered interrupt that the kernel masks when it fires. It is let through again once it has been served: after
 * the listener has made the device lower the line, where it is watched; where it is drained by hand the line may still be
 * high then, and it fires once more than needed.
 */
export class LevelVector implements InterruptVector {
  readonly fd: number
  readonly #options: LevelVectorOptions
  readonly #scratch: Uint8Array
  #stopWatching: (() => void) | undefined
  #closed = false

  constructor(options: LevelVectorOptions) {
    setBlocking(options.fd, false)
    this.fd = options.fd
    this.#options = options
    this.#scratch = new Uint8Array(options.readLength)
  }

  drain(): boolean {
    const fired = this.#take()
    if (fired) this.#options.rearm()
    return fired
  }

  watch(listener: () => void): () => void {
    if (this.#closed) throw new Error('this interrupt vector is closed; watch it before closing it')
    if (this.#stopWatching)
      throw new Error('this interrupt vector is watched already; stop the first watch before the second')
    const stopNative = watchReadable(this.fd, () => {
      if (!this.#take()) return
      try {
        listener()
      } finally {
        if (!this.#closed) this.#options.rearm()
      }
    })
    const stop = (): void => {
      if (this.#stopWatching !== stop) return
      this.#stopWatching = undefined
      stopNative()
    }
    this.#stopWatching = stop
    return stop
  }

  /** Stops the watch. Idempotent. */
  close(): void {
    this.#closed = true
    this.#stopWatching?.()
  }

  #take(): boolean {
    while (!this.#closed) {
      const count = read(this.fd, this.#scratch)
      if (count > 0) return true
      if (count === -EINTR) continue
      if (count !== -EAGAIN) {
        // It would stay readable for ever, and the event loop would spin on it.
        this.#stopWatching?.()
        this.#options.onEnd?.(-count)
      }
      return false
    }
    return false
  }
}
