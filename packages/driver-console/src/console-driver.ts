import {
  type DeviceDescription,
  initialize,
  type NegotiatedFeatures,
  type Transport,
  type VirtioDevice,
} from '@virtio-ts/core'
import { ConsoleConfig, type ConsoleFeatureName } from '@virtio-ts/spec'
import { type ConsoleEventListeners, type ConsoleEvents, consoleEventListeners } from './console-events.ts'
import { type ConsoleLimits, type ConsoleOptions, consoleLimits } from './console-options.ts'
import type { ConsolePort } from './console-port.ts'
import type { ConsoleSize } from './console-size.ts'
import { type ConsoleQueueName, consoleSpecFor } from './console-spec.ts'
import { PortRegistry } from './port-registry.ts'

/**
 * Driver for the console device: every port a stream.
 *
 * @example
 * ```ts
 * const driver = await ConsoleDriver.open(transport)
 * const port = driver.port(0)
 * port?.write('hello\n')
 * port?.pipe(process.stdout)
 * ```
 * @see VIRTIO 1.3 § 5.3 "Console Device"
 */
export class ConsoleDriver implements AsyncDisposable {
  readonly #device: VirtioDevice<ConsoleFeatureName, ConsoleQueueName>
  readonly #events: ConsoleEventListeners = consoleEventListeners()
  readonly #registry: PortRegistry
  readonly #timer: NodeJS.Timeout | undefined
  #configSize: ConsoleSize | undefined
  #closing: Promise<void> | undefined

  private constructor(device: VirtioDevice<ConsoleFeatureName, ConsoleQueueName>, limits: ConsoleLimits) {
    this.#device = device
    this.#registry = new PortRegistry(device, limits, this.#events)
    device.onConfigChange(() => void this.#readSize().catch(() => {}))
    device.onFault((reason) => {
      this.#stop(reason)
      this.#events.fault.call(reason)
    })
    if (device.interrupts === 'none' || limits.watchdog === 0 || device.fault) return
    // A notification that got lost costs no more than this.
    this.#timer = setInterval(() => this.poll(), limits.watchdog)
    this.#timer.unref()
  }

  /**
   * Initialises the device, and takes the transport over. With MULTIPORT it waits until the device has named the ports it has, as far as
   * it does that soon.
   * @throws RangeError for options that cannot be; VirtioError of `initialize()`, or the device's fault
   */
  static async open(transport: Transport, options: ConsoleOptions = {}): Promise<ConsoleDriver> {
    const limits = consoleLimits(options)
    const device = await initialize(transport, consoleSpecFor(limits.maxPorts, limits.buffers), options)
    let driver: ConsoleDriver | undefined
    try {
      driver = new ConsoleDriver(device, limits)
      await driver.#readSize()
      await driver.#registry.start(limits.announceTimeout)
      if (device.fault) throw device.fault
      return driver
    } catch (error) {
      // The first error says more than one of a device that does not reset either.
      await (driver ?? device).close().catch(() => {})
      throw error
    }
  }

  /** Ports the device has now, by number. */
  get ports(): readonly ConsolePort[] {
    return this.#registry.ports
  }

  /** The port with this number, or the first with this name. */
  port(idOrName: number | string): ConsolePort | undefined {
    return this.ports.find((port) => (typeof idOrName === 'number' ? port.id : port.name) === idOrName)
  }

  get features(): NegotiatedFeatures<ConsoleFeatureName> {
    return this.#device.features
  }

  /** A `fault` listener that comes after the fault is called soon. @returns a function that takes the listener off again */
  on<Event extends keyof ConsoleEvents>(event: Event, listener: ConsoleEvents[Event]): () => void {
    const fault = this.#device.fault
    if (event === 'fault' && fault && !this.#closing) queueMicrotask(() => (listener as ConsoleEvents['fault'])(fault))
    const listeners = this.#events[event] as unknown as { add(listener: ConsoleEvents[Event]): () => void }
    return listeners.add(listener)
  }

  /** Looks after everything once. With `interrupts: 'none'` the owner calls it again and again; otherwise nobody has to. */
  poll(): void {
    this.#registry.service()
    void this.#device.checkStatus()
  }

  /** Counters since the driver was opened. */
  stats(): Readonly<Record<string, number>> {
    return this.#registry.stats()
  }

  describe(): DeviceDescription {
    return this.#device.describe()
  }

  /** Closes every port, whatever is on its way (end the streams and wait for `finish` first), and resets the device. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  readonly [Symbol.asyncDispose]: () => Promise<void> = () => this.close()

  #close(): Promise<void> {
    this.#stop(undefined)
    return this.#device.close()
  }

  #stop(reason: Error | undefined): void {
    clearInterval(this.#timer)
    this.#registry.stop(reason)
  }

  /**
   * VIRTIO 1.3 § 5.3.6 "Device Operation": the configuration has the size of port 0. With MULTIPORT devices tell it by message too, and some
   * leave the configuration as it was: only a value that changed counts.
   */
  async #readSize(): Promise<void> {
    if (!this.#device.features.has('SIZE')) return
    const { config } = this.#device
    const size = { columns: await config.read16(ConsoleConfig.COLS), rows: await config.read16(ConsoleConfig.ROWS) }
    const known = this.#configSize
    if (this.#device.fault || (known?.columns === size.columns && known.rows === size.rows)) return
    this.#configSize = size
    this.#registry.resize(0, size)
  }
}
