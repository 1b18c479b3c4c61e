import { type DriverSpec, type InitializeOptions, initialize, type Transport, type VirtioDevice } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { VirtioError } from '@virtio-ts/spec'

// Change: features and queues by the specification's names. Cite the section of your device, as rng-driver.ts does.
type SampleFeature = 'MAX_LENGTH'
type SampleQueue = 'requestq'

/** The driver as data. Change: feature bits; the device type gets a name in packages/spec/src/device-type.ts. */
export const sampleSpec: DriverSpec<SampleFeature, SampleQueue> = {
  name: 'sample',
  deviceType: 63,
  features: { MAX_LENGTH: 0 },
  queues: ['requestq'],
}

/** Offset of the field in the device configuration space. Change: your device's fields. */
const MAX_LENGTH_AT = 0
/** What the device says is not believed beyond this: it decides how much memory a question takes. */
const LONGEST = 4096

export class SampleDriver implements AsyncDisposable {
  /** Bytes a question can have. */
  readonly maxLength: number
  readonly #device: VirtioDevice<SampleFeature, SampleQueue>
  /** Buffers the device does not own: a question in the first half, room for its answer in the second. */
  readonly #idle: DmaRegion[] = []

  private constructor(device: VirtioDevice<SampleFeature, SampleQueue>, maxLength: number) {
    this.#device = device
    this.maxLength = maxLength
  }

  /** Initialises the device, and takes the transport over. */
  static async open(transport: Transport, options: InitializeOptions = {}): Promise<SampleDriver> {
    const device = await initialize(transport, sampleSpec, options)
    try {
      // A field that comes with a feature is not there without it.
      const told = device.features.has('MAX_LENGTH') ? await device.config.read32(MAX_LENGTH_AT) : LONGEST
      return new SampleDriver(device, Math.min(told, LONGEST))
    } catch (error) {
      await device.close()
      throw error
    }
  }

  /**
   * Change: what your device does. Asks it; the answer is a copy, as long as the question. Several may be under way.
   * Rejects with `signal.reason`, RangeError for a length it does not take, its fault, or `sample.short-answer`.
   */
  async ask(question: Uint8Array, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Uint8Array> {
    const { length } = question
    if (length < 1 || length > this.maxLength) throw new RangeError(`${length} bytes are not 1 to ${this.maxLength}`)
    if (this.#device.fault) throw this.#device.fault
    const buffer = this.#idle.pop() ?? this.#device.allocate(2 * this.maxLength)
    buffer.bytes.set(question)
    const readable = [{ region: buffer, offset: 0, length }]
    const writable = [{ region: buffer, offset: this.maxLength, length }]
    let onReleased = (): void => {}
    const released = new Promise<void>((resolve) => (onReleased = resolve))
    try {
      const options = { onReleased, ...(signal && { signal }) }
      const written = await this.#device.requestQueue('requestq').request({ readable, writable }, options)
      if (written === length) return buffer.bytes.slice(this.maxLength, this.maxLength + written)
      throw new VirtioError('sample.short-answer', `${this.#device.location} answered ${length} bytes with ${written}`)
    } finally {
      // A caller may have given up while the device still has the buffer: it is idle when the device says so.
      void released.then(() => this.#idle.push(buffer))
    }
  }

  /** Resets the device and frees its memory; questions still open are rejected. Idempotent. */
  close(): Promise<void> {
    return this.#device.close()
  }

  readonly [Symbol.asyncDispose]: () => Promise<void> = () => this.close()
}
