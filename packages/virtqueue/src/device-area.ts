import { SplitRing } from '@virtio-ts/spec'

/**
 * The device area of a split ring, and with it every read the driver makes of memory that the device writes. The device may
 * change a field between two reads, so callers read each field once, into a local; tests put a subclass here
 * that gives another value at each read.
 * @see VIRTIO 1.3 § 2.7.8 "The Virtqueue Used Ring"
 */
export class DeviceArea {
  readonly #fields: Uint16Array = new Uint16Array(0)
  readonly #elements: Uint32Array = new Uint32Array(0)
  readonly #availEvent: number = 0

  /**
   * @param bytes memory that holds the area
   * @param offset of the area in `bytes`
   * @param size number of descriptors of the ring
   */
  constructor(bytes: Uint8Array, offset: number, size: number) {
    const start = bytes.byteOffset + offset
    const elementsLength = SplitRing.USED_ELEMENT_SIZE * size
    this.#fields = new Uint16Array(bytes.buffer, start, (SplitRing.USED_RING + elementsLength + 2) >> 1)
    this.#elements = new Uint32Array(bytes.buffer, start + SplitRing.USED_RING, elementsLength >> 2)
    this.#availEvent = (SplitRing.USED_RING + elementsLength) >> 1
  }

  // The three reads below are ordered against the rest (Atomics), the two after them are not: the device writes an
  // element before the index that covers it, so one acquiring read of the index is enough for all of them.

  usedIndex(): number {
    return Atomics.load(this.#fields, SplitRing.USED_IDX >> 1)
  }

  usedFlags(): number {
    return Atomics.load(this.#fields, SplitRing.USED_FLAGS >> 1)
  }

  /** Only with EVENT_IDX. */
  availEvent(): number {
    return Atomics.load(this.#fields, this.#availEvent)
  }

  /** All 32 bits of an element's id. @param slot position in the ring, below the queue's size */
  usedId(slot: number): number {
    return this.#elements[slot << 1]!
  }

  usedLength(slot: number): number {
    return this.#elements[(slot << 1) + 1]!
  }
}
