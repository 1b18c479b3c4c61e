import type { Virtqueue } from '@virtio-ts/core'
import type { PairWatchdog } from './pair-watchdog.ts'
import type { ReceivePath } from './receive-path.ts'
import type { TransmitPath } from './transmit-path.ts'

export interface PairAttentionOptions {
  readonly receiveQueue: Virtqueue
  readonly transmitQueue: Virtqueue
  readonly receive: ReceivePath
  readonly transmit: TransmitPath
  readonly watchdog: PairWatchdog
  readonly polled: boolean
  /** Milliseconds between two looks; 0 for none. */
  readonly interval: number
}

/** Calls of `poll()` between two looks at the clock. */
const POLLS_PER_LOOK = 16
/**
 * The first look after the owner was told that there is no room: a device that fell asleep with the queue full (QEMU does, on packed
 * rings with EVENT_IDX) is not to cost a whole interval.
 */
const FULL_LOOK = 50

/**
 * Who calls whom, and when, for one queue pair: used buffer notifications where the device sends them, `poll()` where it does not, and
 * the watchdog in either case.
 */
export class PairAttention {
  readonly #options: PairAttentionOptions
  #onReceive: (() => void) | undefined
  #onTransmitSpace: (() => void) | undefined
  /** The owner waits for a notification of received packets. */
  #armed = false
  #missed = 0
  #polls = 0
  #lastLook: number = performance.now()
  #fullTimer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: PairAttentionOptions) {
    this.#options = options
    // Nobody listens yet, and transmitted frames are taken back when their slots are needed.
    options.receiveQueue.disableUsedNotifications()
    options.transmitQueue.disableUsedNotifications()
  }

  /** Notifications that never came, found by the watchdog. */
  get missed(): number {
    return this.#missed
  }

  onReceive(listener: () => void): void {
    this.#onReceive = listener
    if (this.arm()) queueMicrotask(() => this.#onReceive?.())
  }

  onTransmitSpace(listener: () => void): void {
    this.#onTransmitSpace = listener
  }

  /** @returns true when there is something to receive already */
  arm(): boolean {
    if (this.#options.polled) return this.#options.receive.hasUsed()
    this.#armed = true
    if (!this.#options.receive.arm()) return false
    this.#disarm()
    return true
  }

  poll(): number {
    const { transmit, interval } = this.#options
    const used = transmit.reclaim()
    this.#tellSpace()
    if (++this.#polls % POLLS_PER_LOOK === 0 && interval > 0) {
      const now = performance.now()
      if (now - this.#lastLook >= interval) {
        this.#lastLook = now
        this.look()
      }
    }
    return used
  }

  /** `reserve()` has returned -1, for the first time since it last found room. */
  transmitFull(): void {
    if (this.#options.interval === 0 || this.#fullTimer || this.#stopped) return
    this.#options.watchdog.markTransmit()
    this.#lookSoon()
  }

  stop(): void {
    clearTimeout(this.#fullTimer)
    this.#stopped = true
    this.#onReceive = undefined
    this.#onTransmitSpace = undefined
  }

  received(): void {
    this.#disarm()
    // Inside `receive()` its caller is about to look again anyway.
    if (!this.#options.receive.active) this.#onReceive?.()
  }

  transmitted(): void {
    this.#options.transmit.reclaim()
    this.#tellSpace()
  }

  /** What a notification would have done, done without one. */
  look(): void {
    if (this.#stopped) return
    const { receive, watchdog } = this.#options
    watchdog.look()
    if (this.#armed && receive.hasUsed()) {
      this.#missed++
      this.received()
    }
    this.#lookForSpace()
  }

  #lookAtFull(): void {
    this.#fullTimer = undefined
    if (this.#stopped) return
    const goesOn = this.#options.watchdog.lookAtTransmit()
    this.#lookForSpace()
    // It may have stopped a moment ago. Where it stood still all the time it has been notified, and the usual looks go on.
    if (goesOn && this.#options.transmit.full) this.#lookSoon()
  }

  #lookSoon(): void {
    this.#fullTimer ??= setTimeout(() => this.#lookAtFull(), Math.min(FULL_LOOK, this.#options.interval))
    this.#fullTimer.unref()
  }

  #lookForSpace(): void {
    if (this.#options.transmit.owesSpace && !this.#options.polled) this.#missed++
    this.#tellSpace()
  }

  #disarm(): void {
    this.#armed = false
    this.#options.receiveQueue.disableUsedNotifications()
  }

  #tellSpace(): void {
    const { transmit } = this.#options
    if (!transmit.owesSpace) return
    transmit.spaceTold()
    this.#onTransmitSpace?.()
  }
}
