import type { DeviceHost } from '../device-model.ts'
import { Rules } from '../rules.ts'
import type { ConsolePortOptions } from './console-options.ts'

/** What a port needs of its device. */
export interface PortDevice {
  readonly host: DeviceHost | undefined
  /** Whether ports are opened and closed at all: with MULTIPORT. */
  readonly multiport: boolean
  sayConnected(port: ModelPort): void
}

/** The other end of a port: what is written to it, and read from it. */
export class ModelPort {
  readonly id: number
  readonly name: string | undefined
  readonly console: boolean
  readonly #device: PortDevice
  readonly #receiveQueue: number
  readonly #transmitQueue: number
  readonly #toDriver: Uint8Array[] = []
  readonly #listeners = new Set<(bytes: Uint8Array) => void>()
  #received: Uint8Array[] = []
  #reading = true
  #connected: boolean
  /** The driver said PORT_READY, with 1. */
  ready = false
  /** What the driver said last by PORT_OPEN. */
  driverOpen = false
  /** The driver was told CONSOLE_PORT, and did not answer yet. */
  owesOpen = false

  constructor(
    device: PortDevice,
    id: number,
    queues: { readonly receive: number; readonly transmit: number },
    options: ConsolePortOptions,
  ) {
    this.#device = device
    this.id = id
    this.name = options.name
    this.console = options.console ?? false
    this.#connected = options.connected ?? true
    this.#receiveQueue = queues.receive
    this.#transmitQueue = queues.transmit
  }

  /** Whether somebody is at this end; the driver is told of changes. */
  get connected(): boolean {
    return this.#connected
  }

  set connected(connected: boolean) {
    if (connected === this.#connected) return
    this.#connected = connected
    this.#device.sayConnected(this)
  }

  /** While false nothing is taken from the driver: the peer does not read. */
  get reading(): boolean {
    return this.#reading
  }

  set reading(reading: boolean) {
    this.#reading = reading
    this.transmitted()
  }

  /** Bytes that wait for the driver to have buffers. */
  get pending(): number {
    return this.#toDriver.reduce((sum, { length }) => sum + length, 0)
  }

  /** Writes to the port: copied, and given to the driver as it has buffers. */
  send(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#toDriver.push(bytes.slice())
    this.deliver()
  }

  /** Calls `listener` with what the driver writes. */
  onData(listener: (bytes: Uint8Array) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** What the driver has written since the last call. */
  takeReceived(): Uint8Array {
    const bytes = Buffer.concat(this.#received)
    this.#received = []
    return new Uint8Array(bytes)
  }

  /** The driver has gone: it opens the port anew, if at all. */
  reset(): void {
    this.ready = false
    this.driverOpen = false
    this.owesOpen = false
  }

  /** Fills the driver's receive buffers, as far as there is something to say and somebody who listens. */
  deliver(): void {
    if (this.#device.multiport && !this.driverOpen) return
    const ring = this.#toDriver.length > 0 ? this.#device.host?.ring(this.#receiveQueue) : undefined
    if (!ring) return
    do {
      while (this.#toDriver.length > 0) {
        const chain = ring.take()
        if (!chain) break
        if (chain.readable.length > 0)
          this.#device.host?.violation(Rules.CONSOLE, `a device-readable buffer in the receiveq of port ${this.id}`)
        let written = 0
        while (written < chain.writableLength && this.#toDriver.length > 0) {
          const next = this.#toDriver[0]!
          const part = chain.write(next, written)
          written += part
          if (part === next.length) this.#toDriver.shift()
          else this.#toDriver[0] = next.subarray(part)
        }
        ring.push(chain, written)
      }
    } while (ring.requestNotifications() && this.#toDriver.length > 0)
    ring.flush()
  }

  /** Takes what the driver has written. */
  transmitted(): void {
    const ring = this.#reading ? this.#device.host?.ring(this.#transmitQueue) : undefined
    if (!ring) return
    ring.suppressNotifications()
    do {
      for (
        let chain = this.#reading ? ring.take() : undefined;
        chain;
        chain = this.#reading ? ring.take() : undefined
      ) {
        if (chain.writable.length > 0)
          this.#device.host?.violation(Rules.CONSOLE, `a device-writable buffer in the transmitq of port ${this.id}`)
        const bytes = chain.read()
        this.#received.push(bytes)
        for (const listener of this.#listeners) listener(bytes)
        ring.push(chain, 0)
      }
    } while (ring.requestNotifications() && this.#reading)
    ring.flush()
  }
}
