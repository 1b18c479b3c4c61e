import { close } from '@virtio-ts/native'

/** The descriptors that came with one message: who takes one closes it, the rest goes with the message. */
export class ReceivedFds {
  readonly #fds: (number | undefined)[]

  constructor(fds: readonly number[]) {
    this.#fds = [...fds]
  }

  /** Those not taken. */
  get list(): readonly number[] {
    return this.#fds.filter((fd) => fd !== undefined)
  }

  /**
   * Hands the first one to `use`, whose it is once that has not thrown.
   * @returns whether there was one
   */
  take(use: (fd: number) => void): boolean {
    const at = this.#fds.findIndex((fd) => fd !== undefined)
    const fd = this.#fds[at]
    if (fd === undefined) return false
    use(fd)
    this.#fds[at] = undefined
    return true
  }

  closeRest(): void {
    for (const [at, fd] of this.#fds.entries()) {
      if (fd !== undefined) close(fd)
      this.#fds[at] = undefined
    }
  }
}
