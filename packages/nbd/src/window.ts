/** What one client may have outstanding: requests, and bytes of their payloads or answers. Whoever waits keeps the socket from being read. */
export class Window {
  readonly #mostRequests: number
  readonly #mostBytes: number
  #requests = 0
  #bytes = 0
  #wakeUp: (() => void) | undefined

  constructor(mostRequests: number, mostBytes: number) {
    this.#mostRequests = mostRequests
    this.#mostBytes = mostBytes
  }

  get requests(): number {
    return this.#requests
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Waits for room. A request that is larger than the window gets in when it is alone. One waiter at a time. */
  async enter(bytes: number): Promise<void> {
    while (this.#requests >= this.#mostRequests || (this.#requests > 0 && this.#bytes + bytes > this.#mostBytes))
      await this.#change()
    this.#requests++
    this.#bytes += bytes
  }

  leave(bytes: number): void {
    this.#requests--
    this.#bytes -= bytes
    this.#wakeUp?.()
  }

  /** Waits until nothing is outstanding. */
  async empty(): Promise<void> {
    while (this.#requests > 0) await this.#change()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      const before = this.#wakeUp
      this.#wakeUp = () => {
        this.#wakeUp = undefined
        before?.()
        resolve()
      }
    })
  }
}
