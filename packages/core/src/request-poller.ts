import type { RequestQueue, Virtqueue } from '@virtio-ts/virtqueue'

/** Polled mode: looks at a queue once a turn of the event loop while requests are pending. */
export class RequestPoller {
  readonly #requests: RequestQueue
  readonly #queue: () => Virtqueue
  #running = false

  /** @param queue the one of the moment: a reset may bring another */
  constructor(requests: RequestQueue, queue: () => Virtqueue) {
    this.#requests = requests
    this.#queue = queue
  }

  /** From the next turn on, until nothing is pending or the queue breaks. Called while it polls, which requests made within a look do, it changes nothing. */
  start(): void {
    if (this.#running) return
    this.#running = true
    setImmediate(this.#look)
  }

  readonly #look = (): void => {
    this.#requests.service()
    this.#running = this.#requests.pending > 0 && !this.#queue().broken
    if (this.#running) setImmediate(this.#look)
  }
}
