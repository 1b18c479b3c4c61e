import type { TapQueue } from '@virtio-ts/tap'
import { type FromDevice, turnBudget } from './from-device.ts'
import type { PacketPair } from './packet-pair.ts'
import type { ToDevice } from './to-device.ts'

/**
 * `no`: interrupts say when there is something. `always`: round after round, as asked for. `with-pauses`: the device has no interrupts
 * here, and nobody asked for a core of this machine to be taken up: idle rounds are followed by pauses.
 */
export type Polling = 'no' | 'always' | 'with-pauses'

/** Rounds without a frame before the first pause: a conversation's next frame is mostly here sooner. */
const idleRounds = 200
const pauseMilliseconds = 1

/**
 * Drives both directions on the event loop. Interrupt-driven: notifications and the TAP's readiness start turns, and a turn
 * that used up its budget is followed by another on the next round of the loop. Polled: one round after the other.
 */
export class TapLoop {
  readonly #pair: PacketPair
  readonly #tap: TapQueue
  readonly #fromDevice: FromDevice
  readonly #toDevice: ToDevice
  readonly #polling: Polling
  #unwatch: (() => void) | undefined
  #receiving = false
  #draining = false
  #idle = 0
  #stopped = false

  constructor(pair: PacketPair, tap: TapQueue, fromDevice: FromDevice, toDevice: ToDevice, polling: Polling) {
    this.#pair = pair
    this.#tap = tap
    this.#fromDevice = fromDevice
    this.#toDevice = toDevice
    this.#polling = polling
  }

  start(): void {
    if (this.#polling !== 'no') return this.#poll()
    this.#pair.onReceive(() => this.#receive())
    this.#pair.onTransmitSpace(() => this.#watchTap())
    this.#watchTap()
    this.#receive()
  }

  /** Takes no more frames from the TAP, for good: what is in the ring drains, and what arrives is still passed on. */
  stopTransmit(): void {
    this.#draining = true
    this.#leaveTap()
  }

  stop(): void {
    this.#stopped = true
    this.stopTransmit()
  }

  #leaveTap(): void {
    this.#unwatch?.()
    this.#unwatch = undefined
  }

  #receive(): void {
    if (this.#receiving || this.#stopped) return
    this.#receiving = true
    if (this.#fromDevice.turn() === turnBudget || this.#pair.armReceive()) {
      setImmediate(() => {
        this.#receiving = false
        this.#receive()
      })
    } else this.#receiving = false
  }

  #watchTap(): void {
    if (this.#draining || this.#unwatch) return
    this.#unwatch = this.#tap.onReadable(() => {
      // A level-triggered watch on a TAP nobody reads would spin: it is taken off until the ring has room again.
      if (this.#toDevice.turn() === 'full') this.#leaveTap()
    })
  }

  #poll(): void {
    if (this.#stopped) return
    this.#pair.poll()
    const received = this.#fromDevice.turn()
    const sent = this.#draining ? 'idle' : this.#toDevice.turn()
    this.#idle = received === 0 && sent !== 'more' ? this.#idle + 1 : 0
    if (this.#polling === 'with-pauses' && this.#idle > idleRounds) setTimeout(() => this.#poll(), pauseMilliseconds)
    else setImmediate(() => this.#poll())
  }
}
