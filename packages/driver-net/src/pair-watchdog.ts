import type { Virtqueue } from '@virtio-ts/core'
import type { ReceivePath } from './receive-path.ts'
import type { TransmitPath } from './transmit-path.ts'

export interface PairWatchdogOptions {
  readonly receiveQueue: Virtqueue
  readonly transmitQueue: Virtqueue
  readonly receive: ReceivePath
  readonly transmit: TransmitPath
  /** Milliseconds without progress until a standstill is told. */
  readonly transmitTimeout: number
  readonly onTransmitTimeout: (inFlight: number) => void
}

/**
 * Looks after a pair's queues that stand still: a notification that got lost, in either direction, costs no more than the time between
 * two looks, and a device that stopped transmitting is told of.
 */
export class PairWatchdog {
  readonly #options: PairWatchdogOptions
  #completed = 0
  #lastProgress: number = performance.now()
  #timeoutTold = false
  #receiveUsed = 0
  #receiveSuppressed = 0
  #notifiedAgain = 0
  #timeouts = 0

  constructor(options: PairWatchdogOptions) {
    this.#options = options
  }

  look(): void {
    this.#options.receive.checkRest()
    this.lookAtTransmit()
    this.#lookAtReceive()
  }

  /** Remembers where the transmit queue stands, so that the next look can tell whether it went on from there. */
  markTransmit(): void {
    const { completed } = this.#options.transmit
    if (completed === this.#completed) return
    this.#completed = completed
    this.#lastProgress = performance.now()
    this.#timeoutTold = false
  }

  /** @returns whether the device went on since the last look, or has nothing to do */
  lookAtTransmit(): boolean {
    const { transmit, transmitQueue, transmitTimeout, onTransmitTimeout } = this.#options
    transmit.reclaim()
    const now = performance.now()
    if (transmit.inFlight === 0 || transmit.completed !== this.#completed) {
      this.#completed = transmit.completed
      this.#lastProgress = now
      this.#timeoutTold = false
      return true
    }
    this.#notifyAgain(transmitQueue)
    if (this.#timeoutTold || now - this.#lastProgress < transmitTimeout) return false
    this.#timeoutTold = true
    this.#timeouts++
    onTransmitTimeout(transmit.inFlight)
    return false
  }

  addStats(stats: Record<string, number>): void {
    stats.notified_again = this.#notifiedAgain
    stats.tx_timeouts = this.#timeouts
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
