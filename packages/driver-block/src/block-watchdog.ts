import type { BlockDevice, RequestChannel } from './request-channel.ts'

const INTERVAL = 1000
const POLLED_INTERVAL = 100

/** Looks after requests now and then: a lost notification, in either direction, costs no more than the time between two looks. */
export class BlockWatchdog {
  readonly #timer: NodeJS.Timeout | undefined

  /** @param interval milliseconds; 0 for none */
  constructor(device: BlockDevice, channel: RequestChannel, interval: number | undefined) {
    const polled = device.interrupts === 'none'
    const every = interval ?? (polled ? POLLED_INTERVAL : INTERVAL)
    if (every === 0) return
    this.#timer = setInterval(() => {
      if (channel.pending === 0 && !polled) return
      channel.look()
      // Tells of NEEDS_RESET; polled, also of another capacity.
      void device.checkStatus()
    }, every)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
