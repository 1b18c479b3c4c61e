import type { DeviceAddress } from '@virtio-ts/memory'

/**
 * A reusable list of buffers that become one descriptor chain: device-readable ones first, then device-writable ones.
 * @see VIRTIO 1.3 § 2.7.4.2 "Driver Requirements: Message Framing"
 */
export class ChainBuilder {
  readonly addresses: Float64Array
  readonly lengths: Uint32Array
  readonly capacity: number
  #count = 0
  #readable = 0
  #totalLength = 0
  #writableLength = 0

  /** @param capacity buffers it can hold */
  constructor(capacity: number) {
    this.capacity = capacity
    this.addresses = new Float64Array(capacity)
    this.lengths = new Uint32Array(capacity)
  }

  get count(): number {
    return this.#count
  }

  /** How many of them, from the first, are device-readable. */
  get readable(): number {
    return this.#readable
  }

  /** Bytes in the device-writable buffers together. */
  get writableLength(): number {
    return this.#writableLength
  }

  clear(): this {
    this.#count = 0
    this.#readable = 0
    this.#totalLength = 0
    this.#writableLength = 0
    return this
  }

  /** @throws RangeError when full, when `length` is below 1, after a writable buffer, or beyond 2^32 bytes in total */
  addReadable(address: DeviceAddress, length: number): this {
    if (this.#readable !== this.#count) {
      throw new RangeError('a device-readable buffer cannot follow a device-writable one')
    }
    this.#append(address, length)
    this.#readable++
    return this
  }

  /** @throws RangeError when full, when `length` is below 1, or beyond 2^32 bytes in total */
  addWritable(address: DeviceAddress, length: number): this {
    this.#append(address, length)
    this.#writableLength += length
    return this
  }

  #append(address: DeviceAddress, length: number): void {
    if (this.#count === this.capacity) throw new RangeError(`a chain of more than ${this.capacity} buffers`)
    // A zero-length descriptor stops QEMU's queue for good, so it never leaves the driver.
    if (!(length >= 1 && length <= 0xffffffff)) throw new RangeError(`a buffer of ${length} bytes`)
    // VIRTIO 1.3 § 2.7.5.2 "Driver Requirements: The Virtqueue Descriptor Table"
    if (this.#totalLength + length > 2 ** 32) throw new RangeError('a chain of more than 2^32 bytes')
    this.addresses[this.#count] = address
    this.lengths[this.#count] = length
    this.#totalLength += length
    this.#count++
  }
}
