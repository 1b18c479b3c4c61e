import type { VirtioDevice, Virtqueue } from '@virtio-ts/core'
import type { ControlQueue } from './control-queue.ts'
import type { NetDriverFeature, NetQueue } from './net-spec.ts'
import type { ReceivePath } from './receive-path.ts'
import type { TransmitPath } from './transmit-path.ts'
import type { Watchdog } from './watchdog.ts'

export interface AttentionOptions {
  readonly device: VirtioDevice<NetDriverFeature, NetQueue>
  readonly receive: ReceivePath
  readonly transmit: TransmitPath
  readonly control: ControlQueue | undefined
  readonly watchdog: Watchdog
  /** Milliseconds between two looks; 0 for none. */
  readonly interval: number | undefined
}

const INTERVAL = 1000
const POLLED_INTERVAL = 100
/** Calls of `poll()` between two looks at the clock. */
const POLLS_PER_LOOK = 16

/**
 * Who calls whom, and when: used buffer notifications where the device sends them, `poll()` where it does not, and the watchdog in
 * either case.
 */
export class Attention {
  readonly #options: AttentionOptions
  readonly #receiveQueue: Virtqueue
  readonly #interval: number
  readonly #timer: NodeJS.Timeout | undefined
  #onReceive: (() => void) | undefined
  #onTransmitSpace: (() => void) | undefined
  /** The owner waits for a notification of received packets. */
  #armed = false
  #missed = 0
  #polls = 0
  #lastLook: number = performance.now()

  constructor(options: AttentionOptions) {
    this.#options = options
    const { device } = options
    this.#receiveQueue = device.queue('receiveq1')
    this.#interval = options.interval ?? (this.polled ? POLLED_INTERVAL : INTERVAL)
    // Nobody listens yet, and transmitted frames are taken back when their slots are needed.
    this.#receiveQueue.disableUsedNotifications()
    device.queue('transmitq1').disableUsedNotifications()
    if (this.polled) return
    device.onUsed('receiveq1', () => this.#received())
    device.onUsed('transmitq1', () => this.#transmitted())
    if (this.#interval === 0) return
    this.#timer = setInterval(() => this.#look(), this.#interval)
    this.#timer.unref()
  }

  get polled(): boolean {
    return this.#options.device.interrupts === 'none'
  }

  /** Notifications that never came, found by the watchdog. */
  get missed(): number {
    return this.#missed
  }

  onReceive(listener: () => void): void {
    this.#onReceive = listener
    if (!this.polled && this.arm()) queueMicrotask(() => this.#onReceive?.())
  }

  onTransmitSpace(listener: () => void): void {
    this.#onTransmitSpace = listener
  }

  /** @returns true when there is something to receive already */
  arm(): boolean {
    if (this.polled) return this.#options.receive.hasUsed()
    this.#armed = true
    if (!this.#options.receive.arm()) return false
    this.#disarm()
    return true
  }

  poll(): number {
    const work = this.#options.transmit.reclaim() + (this.#options.control?.service() ?? 0)
    this.#tellSpace()
    if (++this.#polls % POLLS_PER_LOOK === 0 && this.#interval > 0) {
      const now = performance.now()
      if (now - this.#lastLook >= this.#interval) {
        this.#lastLook = now
        this.#look()
      }
    }
    return work
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#onReceive = undefined
    this.#onTransmitSpace = undefined
  }

  #received(): void {
    this.#disarm()
    // Inside `receive()` its caller is about to look again anyway.
    if (!this.#options.receive.active) this.#onReceive?.()
  }

  #transmitted(): void {
    this.#options.transmit.reclaim()
    this.#tellSpace()
  }

  #disarm(): void {
    this.#armed = false
    this.#receiveQueue.disableUsedNotifications()
  }

  #tellSpace(): void {
    if (!this.#options.transmit.owesSpace) return
    this.#options.transmit.spaceTold()
    this.#onTransmitSpace?.()
  }

  /** What a notification would have done, done without one. */
  #look(): void {
    const { device, receive, watchdog, control } = this.#options
    watchdog.look()
    control?.service()
    if (this.#armed && receive.hasUsed()) {
      this.#missed++
      this.#received()
    }
    if (this.#options.transmit.owesSpace && !this.polled) this.#missed++
    this.#tellSpace()
    // Tells of NEEDS_RESET, and has the configuration space read again.
    void device.checkStatus()
  }
}
