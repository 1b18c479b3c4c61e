interface Waiter {
  readonly enter: () => void
  readonly refuse: (reason: unknown) => void
}

/** Lets one caller in at a time, in the order they came. Callers may stop waiting; who is in stays in until `leave()`. */
export class Turnstile {
  readonly #waiters = new Set<Waiter>()
  #taken = false
  #closed: { readonly reason: unknown } | undefined

  /** Resolves when it is the caller's turn. Rejects with the signal's reason, or what `close()` was given. */
  enter(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw this.#closed.reason
      signal.throwIfAborted()
      if (!this.#taken) {
        this.#taken = true
        resolve()
        return
      }
      const end = (): void => {
        this.#waiters.delete(waiter)
        signal.removeEventListener('abort', abort)
      }
      const abort = (): void => waiter.refuse(signal.reason)
      const waiter: Waiter = {
        enter: () => {
          end()
          resolve()
        },
        refuse: (reason) => {
          end()
          reject(reason)
        },
      }
      this.#waiters.add(waiter)
      signal.addEventListener('abort', abort)
    })
  }

  leave(): void {
    const [next] = this.#waiters
    if (next) next.enter()
    else this.#taken = false
  }

  /** Turns away everyone who waits, and everyone who comes. */
  close(reason: unknown): void {
    this.#closed ??= { reason }
    for (const waiter of [...this.#waiters]) waiter.refuse(this.#closed.reason)
  }
}
