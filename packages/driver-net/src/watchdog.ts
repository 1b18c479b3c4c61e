import type { Virtqueue } from '@virtio-ts/core'
import type { ReceivePath } from './receive-path.ts'
import type { TransmitPath } from './transmit-path.ts'

export interface WatchdogOptions {
  readonly receiveQueue: Virtqueue
  readonly transmitQueue: Virtqueue
  readonly controlQueue: Virtqueue | undefined
  readonly receive: ReceivePath
  readonly transmit: TransmitPath
  /** Milliseconds without progress until a standstill is told. */
  readonly transmitTimeout: number
  readonly onTransmitTimeout: (inFlight: number) => void
}

/**
 * Looks after queues that stand still: a notification that got lost, in either direction, costs no more than the time between two looks,
 * and a device that stopped transmitting is told of.
 */
export class Watchdog {
  readonly #options: WatchdogOptions
  #completed = 0
  #lastProgress: number = performance.now()
  #timeoutTold = false
  #receiveUsed = 0
  #receiveSuppressed = 0
  #notifiedAgain = 0
  #timeouts = 0

  constructor(options: WatchdogOptions) {
    this.#options = options
  }

  look(): void {
    this.#options.receive.checkRest()
    this.#lookAtTransmit()
    this.#lookAtReceive()
    const { controlQueue } = this.#options
    if (controlQueue && controlQueue.inFlight > 0) this.#notifyAgain(controlQueue)
  }

  addStats(stats: Record<string, number>): void {
    stats.notified_again = this.#notifiedAgain
    stats.tx_timeouts = this.#timeouts
  }

  #lookAtTransmit(): void {
    const { transmit, transmitQueue, transmitTimeout, onTransmitTimeout } = this.#options
    transmit.reclaim()
    const now = performance.now()
    if (transmit.inFlight === 0 || transmit.completed !== this.#completed) {
      this.#completed = transmit.completed
      this.#lastProgress = now
      this.#timeoutTold = false
      return
    }
    this.#notifyAgain(transmitQueue)
    if (this.#timeoutTold || now - this.#lastProgress < transmitTimeout) return
    this.#timeoutTold = true
    this.#timeouts++
    onTransmitTimeout(transmit.inFlight)
  }

  /** A device that said it needs no notification, and then received nothing, may be asleep without knowing of new buffers. */
  #lookAtReceive(): void {
    const { receiveQueue } = this.#options
    const { used, notificationsSuppressed } = receiveQueue.stats
    if (used === this.#receiveUsed && notificationsSuppressed !== this.#receiveSuppressed) {
      this.#notifyAgain(receiveQueue)
      this.#receiveSuppressed = notificationsSuppressed
    }
    this.#receiveUsed = used
  }

  #notifyAgain(queue: Virtqueue): void {
    this.#notifiedAgain++
    queue.notifyAlways()
  }
}
