import { Duplex } from 'node:stream'
import { callGuarded } from './call-guarded.ts'
import type { ConsoleSize } from './console-size.ts'

/** What a port needs of its device. */
export interface PortLink {
  /** Tells the device that the port is in use. */
  open(): void
  /** The stream wants data. */
  read(): void
  write(bytes: Uint8Array, whenWritten: (error?: Error) => void): void
  flush(whenFlushed: (error?: Error) => void): void
  /** The stream has ended, one way or another. */
  closed(): void
}

/** What the driver keeps up to date of a port. */
export interface PortState {
  name: string | undefined
  isConsole: boolean
  hostConnected: boolean
  size: ConsoleSize | undefined
}

/** For the driver alone: the parts of a port that its users only look at. */
export interface PortControl {
  readonly port: ConsolePort
  readonly state: PortState
  /** Bytes of the device. @returns whether more are wanted now */
  deliver(bytes: Buffer): boolean
  /** No more will come. */
  endOfData(): void
}

/**
 * A port of a console device as a stream of bytes. It opens, towards the device, when it is first read or written, or by `open()`; it
 * closes when it is destroyed or both its directions have ended, and the driver then has a new one under the same number.
 *
 * Data that nobody reads stays in the device. A write is done when the device has been given all of it, the end of the stream (`finish`)
 * when the device has taken it. While nobody is at the other end (`hostConnected`), QEMU throws away what is written to a port that is
 * no console.
 *
 * Events beside those of a stream: `name`, `console`, `host-connected`, `host-disconnected`, `resize` (with the size). A stream that
 * fails without an `error` listener does not end the process: see `errored`.
 * @see VIRTIO 1.3 § 5.3.6 "Device Operation"
 */
export class ConsolePort extends Duplex {
  /** The port's number. */
  readonly id: number
  readonly #link: PortLink
  readonly #state: PortState

  private constructor(id: number, link: PortLink, state: PortState) {
    super({ allowHalfOpen: true, decodeStrings: true })
    this.id = id
    this.#link = link
    this.#state = state
    // The device decides when a port fails: that must not be what ends a process which did not think of it.
    this.on('error', () => {})
  }

  /** For the driver. */
  static make(id: number, link: PortLink, state: PortState): PortControl {
    const port = new ConsolePort(id, link, state)
    return {
      port,
      state,
      deliver(bytes) {
        let wanted = true
        // Listeners of `data` are called from within.
        callGuarded(() => (wanted = port.push(bytes)))
        return wanted && !port.destroyed
      },
      endOfData() {
        callGuarded(() => port.push(null))
      },
    }
  }

  /** As the device said; characters that are not printable are U+FFFD. Undefined for a port without a name. */
  get name(): string | undefined {
    return this.#state.name
  }

  /** Whether the device nominated this port as a console. */
  get isConsole(): boolean {
    return this.#state.isConsole
  }

  /** Whether somebody is at the other end, as far as the device says. */
  get hostConnected(): boolean {
    return this.#state.hostConnected
  }

  /** Of a console whose device tells. */
  get size(): ConsoleSize | undefined {
    return this.#state.size
  }

  /** Tells the device that the port is in use, before anything is read or written. Idempotent. */
  open(): void {
    if (!this.destroyed) this.#link.open()
  }

  override _read(): void {
    this.#link.open()
    this.#link.read()
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#link.open()
    this.#link.write(chunk, callback)
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#link.flush(callback)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#link.closed()
    callback(error)
  }
}
