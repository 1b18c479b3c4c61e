import type { TapQueue } from '@virtio-ts/tap'
import type { FromDevice } from './from-device.ts'
import type { PacketPair } from './packet-pair.ts'
import type { ToDevice } from './to-device.ts'

/**
 * Drives both directions on the event loop. Interrupt-driven: notifications and the TAP's readiness start turns, and a turn
 * that used up its budget is followed by another on the next round of the loop. Polled: one round after the other.
 */
export class TapLoop {
  readonly #pair: PacketPair
  readonly #tap: TapQueue
  readonly #fromDevice: FromDevice
  readonly #toDevice: ToDevice
  readonly #polled: boolean
  #unwatch: (() => void) | undefined
  #receiving = false
  #draining = false
  #stopped = false

  constructor(pair: PacketPair, tap: TapQueue, fromDevice: FromDevice, toDevice: ToDevice, polled: boolean) {
    this.#pair = pair
    this.#tap = tap
    this.#fromDevice = fromDevice
    this.#toDevice = toDevice
    this.#polled = polled
  }

  start(): void {
    if (this.#polled) return this.#poll()
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
    if (this.#fromDevice.turn() || this.#pair.armReceive()) {
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
    this.#fromDevice.turn()
    if (!this.#draining) this.#toDevice.turn()
    setImmediate(() => this.#poll())
  }
}
