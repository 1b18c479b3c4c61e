import { type DriverSpec, type InitializeOptions, initialize, type Transport, type VirtioDevice } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { DeviceType, VirtioError } from '@virtio-ts/spec'

/** No feature bits, no configuration, one queue. @see VIRTIO 1.3 § 5.4 "Entropy Device" */
export const rngSpec: DriverSpec<never, 'requestq'> = {
  name: 'rng',
  deviceType: DeviceType.ENTROPY,
  features: {},
  queues: ['requestq'],
}

export interface RngOptions extends InitializeOptions {
  /** Bytes asked for at a time. @defaultValue 4096 */
  readonly bufferSize?: number
}

export class RngDriver implements AsyncDisposable {
  readonly #device: VirtioDevice<never, 'requestq'>
  readonly #buffer: DmaRegion
  /** Settled when everyone before is done, and the device has given the buffer back. */
  #turn: Promise<void> = Promise.resolve()
  #home: Promise<void> = Promise.resolve()
  #comeHome: () => void = () => {}

  private constructor(device: VirtioDevice<never, 'requestq'>, buffer: DmaRegion) {
    this.#device = device
    this.#buffer = buffer
    device.onFault(() => this.#comeHome())
  }

  /** Initialises the device, and takes the transport over. */
  static async open(transport: Transport, options: RngOptions = {}): Promise<RngDriver> {
    const device = await initialize(transport, rngSpec, options)
    try {
      return new RngDriver(device, device.allocate(options.bufferSize ?? 4096))
    } catch (error) {
      await device.close()
      throw error
    }
  }

  /** Fills `into`; callers are served in turn. Rejects with `signal.reason`, the device's fault or VirtioError `rng.no-entropy`. */
  randomFill<T extends Uint8Array>(into: T, { signal }: { readonly signal?: AbortSignal } = {}): Promise<T> {
    const filled = this.#turn.then(() => this.#fill(into, signal))
    // A caller that gave up left the buffer with the device: the next one waits for the buffer, not for the caller.
    this.#turn = filled.catch(() => {}).then(() => this.#home)
    return signal ? orAborted(filled, signal) : filled
  }

  async #fill<T extends Uint8Array>(into: T, signal: AbortSignal | undefined): Promise<T> {
    for (let done = 0, written = 0; done < into.length; done += written) {
      this.#home = new Promise((resolve) => (this.#comeHome = resolve))
      const wanted = { region: this.#buffer, offset: 0, length: Math.min(this.#buffer.length, into.length - done) }
      // VIRTIO 1.3 § 5.4.6.1 "Driver Requirements: Device Operation": nothing device-readable; the length written says what came.
      const options = { onReleased: this.#comeHome, ...(signal && { signal }) }
      written = await this.#device.requestQueue('requestq').request({ writable: [wanted] }, options)
      signal?.throwIfAborted()
      if (written === 0) throw new VirtioError('rng.no-entropy', `${this.#device.location} returned no random byte`)
      into.set(this.#buffer.bytes.subarray(0, written), done)
    }
    return into
  }

  /** Resets the device and frees its memory; callers still waiting are rejected. Idempotent. */
  close(): Promise<void> {
    return this.#device.close().finally(() => this.#comeHome())
  }

  readonly [Symbol.asyncDispose]: () => Promise<void> = () => this.close()
}

function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    signal.aborted ? abort() : signal.addEventListener('abort', abort)
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
