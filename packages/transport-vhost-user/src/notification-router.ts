type Listener = () => void

/** Leads notifications to their listeners, from DRIVER_OK to the next reset. */
export class NotificationRouter {
  readonly #used = new Map<number, Listener>()
  #config: Listener | undefined
  #configPending = false
  #live = false

  /** One listener a queue; a later one takes its place. */
  onUsed(index: number, listener: Listener): void {
    this.#used.set(index, listener)
  }

  hasListener(index: number): boolean {
    return this.#used.has(index)
  }

  /** One listener; a later one takes its place. */
  onConfigChange(listener: Listener): void {
    this.#config = listener
  }

  /** A configuration change that came before DRIVER_OK is told then: nothing else would tell it. */
  setLive(live: boolean): void {
    this.#live = live
    if (!live) this.#configPending = false
    else if (this.#configPending) queueMicrotask(() => this.configChanged())
  }

  used(index: number): void {
    if (this.#live) this.#used.get(index)?.()
  }

  configChanged(): void {
    this.#configPending = !this.#live
    if (this.#live) this.#config?.()
  }
}
