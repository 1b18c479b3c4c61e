/** Whether a function is gone, and who wants to know. Told once; whoever comes later is told at once. */
export class GoneNotice {
  readonly #listeners = new Set<(reason: Error) => void>()
  #reason: Error | undefined

  get reason(): Error | undefined {
    return this.#reason
  }

  /** @returns takes the listener off */
  listen(listener: (reason: Error) => void): () => void {
    if (this.#reason !== undefined) {
      listener(this.#reason)
      return () => {}
    }
    // The same function twice is two listeners.
    const entry = (reason: Error): void => listener(reason)
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  /** The first reason stands. */
  give(reason: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    for (const listener of this.#listeners) {
      // Each on its own: one that throws does not keep the others from hearing of it.
      queueMicrotask(() => {
        if (this.#listeners.delete(listener)) listener(reason)
      })
    }
  }

  /** Nobody is told any more. */
  clear(): void {
    this.#listeners.clear()
  }
}
