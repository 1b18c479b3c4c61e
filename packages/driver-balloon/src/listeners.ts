/**
 * Functions to call when something happens. What one of them throws comes out as an uncaught exception of its own, and keeps neither
 * the others nor the driver from going on.
 */
export class Listeners<Arguments extends readonly unknown[]> {
  readonly #listeners = new Set<(...args: Arguments) => void>()

  get count(): number {
    return this.#listeners.size
  }

  /** @returns a function that takes the listener off again */
  add(listener: (...args: Arguments) => void): () => void {
    // A wrapper of its own, so that the same function given twice is called twice and taken off once.
    const entry = (...args: Arguments): void => listener(...args)
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  call(...args: Arguments): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(...args)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
