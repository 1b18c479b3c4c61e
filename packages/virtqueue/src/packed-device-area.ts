import { PackedRing } from '@virtio-ts/spec'

/**
 * Every read the driver makes of a packed ring's memory. The device may change a field between two reads, so callers read each field
 * once, into a local; tests put a subclass here that gives another value at each read.
 * @see VIRTIO 1.3 § 2.8.13 "The Virtqueue Descriptor Format"
 */
export class PackedDeviceArea {
  readonly #ring: Uint32Array = new Uint32Array(0)
  readonly #events: Uint32Array = new Uint32Array(0)

  /**
   * @param bytes memory that holds the ring
   * @param offset of the device event suppression structure in `bytes`; the descriptor ring is at their beginning
   * @param size number of descriptors of the ring
   */
  constructor(bytes: Uint8Array, offset: number, size: number) {
    this.#ring = new Uint32Array(bytes.buffer, bytes.byteOffset, (PackedRing.DESCRIPTOR_SIZE * size) >> 2)
    this.#events = new Uint32Array(bytes.buffer, bytes.byteOffset + offset, 1)
  }

  /**
   * Id in the lower half, flags in the upper: one read, as 32 aligned bits do not tear. Not ordered against what is read
   * next; `popUsed` sees to that once for all it takes.
   */
  usedWord(slot: number): number {
    return this.#ring[(slot << 2) | 3]!
  }

  /** `usedWord`, ordered against everything after it. */
  nextUsedWord(slot: number): number {
    return Atomics.load(this.#ring, (slot << 2) + 3)
  }

  usedLength(slot: number): number {
    return this.#ring[(slot << 2) | 2]!
  }

  /** Device event suppression: offset and wrap counter in the lower half, flags in the upper. Ordered. */
  eventSuppression(): number {
    return Atomics.load(this.#events, 0)
  }
}
