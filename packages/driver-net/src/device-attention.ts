import type { VirtioDevice } from '@virtio-ts/core'
import type { ControlQueue } from './control-queue.ts'
import type { NetDriverFeature, NetQueue } from './net-spec.ts'
import type { QueuePairEngine } from './queue-pair-engine.ts'

export interface DeviceAttentionOptions {
  readonly device: VirtioDevice<NetDriverFeature, NetQueue>
  /** Pairs this thread looks after; those given to another one are taken off. */
  readonly engines: ReadonlySet<QueuePairEngine>
  readonly control: ControlQueue | undefined
  /** Milliseconds between two looks; 0 for none. */
  readonly interval: number
}

/** Calls of `poll()` between two looks at the clock. */
const POLLS_PER_LOOK = 16

/** The watchdog of what a device has once: its status, its control queue; and, where it notifies, of its pairs. */
export class DeviceAttention {
  readonly #options: DeviceAttentionOptions
  readonly #timer: NodeJS.Timeout | undefined
  #notifiedAgain = 0
  #polls = 0
  #lastLook: number = performance.now()

  constructor(options: DeviceAttentionOptions) {
    this.#options = options
    if (this.polled || options.interval === 0) return
    this.#timer = setInterval(() => this.#look(), options.interval)
    this.#timer.unref()
  }

  get polled(): boolean {
    return this.#options.device.interrupts === 'none'
  }

  /** Available buffer notifications of the control queue that were sent once more. */
  get notifiedAgain(): number {
    return this.#notifiedAgain
  }

  /** @returns answers to commands */
  poll(): number {
    const { control, interval } = this.#options
    if (++this.#polls % POLLS_PER_LOOK === 0 && interval > 0) {
      const now = performance.now()
      if (now - this.#lastLook >= interval) {
        this.#lastLook = now
        this.#lookAtDevice()
      }
    }
    return control?.service() ?? 0
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    for (const engine of this.#options.engines) engine.attention.look()
    this.#lookAtDevice()
  }

  #lookAtDevice(): void {
    const { device, control } = this.#options
    if (control) {
      const queue = device.queue('controlq')
      if (queue.inFlight > 0) {
        this.#notifiedAgain++
        queue.notifyAlways()
      }
      control.service()
    }
    // Tells of NEEDS_RESET, and has the configuration space read again.
    void device.checkStatus()
  }
}
