interface Waiter {
  readonly exclusive: boolean
  readonly enter: () => void
}

/** Operations that may run beside each other, and such that must be alone. In turn: nobody overtakes one who waits. */
export class SharedLock {
  #sharing = 0
  #alone = false
  #waiting: Waiter[] = []

  async run<T>(exclusive: boolean, operation: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || !this.#isFree(exclusive)) {
      await new Promise<void>((resolve) => this.#waiting.push({ exclusive, enter: resolve }))
    } else this.#enter(exclusive)
    try {
      return await operation()
    } finally {
      if (exclusive) this.#alone = false
      else this.#sharing--
      this.#admit()
    }
  }

  #isFree(exclusive: boolean): boolean {
    return !this.#alone && (!exclusive || this.#sharing === 0)
  }

  #enter(exclusive: boolean): void {
    if (exclusive) this.#alone = true
    else this.#sharing++
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next && this.#isFree(next.exclusive); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#enter(next.exclusive)
      next.enter()
    }
  }
}
