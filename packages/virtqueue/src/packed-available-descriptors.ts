import { PackedRing } from '@virtio-ts/spec'
import type { ChainBuilder } from './chain-builder.ts'
import { writeDescriptor } from './write-descriptor.ts'

const { DESC_F_NEXT, DESC_F_WRITE, DESC_F_AVAIL, DESC_F_USED } = PackedRing
const HIGH = 2 ** 32

/**
 * Writes available descriptors, one behind the other around the ring. Id and flags of the first one since `publish` are held back:
 * a device that goes through the ring in order stops there, so everything behind it may be written as it comes.
 * @see VIRTIO 1.3 § 2.8.21.1 "Placing Available Buffers Into The Descriptor Ring"
 */
export class PackedAvailableDescriptors {
  readonly #descriptors: Uint32Array
  readonly #size: number
  /** Of the next descriptor, on a circle of twice the ring's size: the wrap counter is 1 below the size, 0 from there on. */
  #position = 0
  #unpublished = 0
  #heldBack = 0

  constructor(descriptors: Uint32Array, size: number) {
    this.#descriptors = descriptors
    this.#size = size
  }

  /** Descriptors since `publish`. */
  get unpublished(): number {
    return this.#unpublished
  }

  /** VIRTIO 1.3 § 2.8.1 "Driver and Device Ring Wrap Counters": they begin at 1. */
  reset(): void {
    this.#position = 0
    this.#unpublished = 0
  }

  /**
   * Writes the descriptor that is `ahead` others in front of the next one.
   * @param idAndFlags id in the lower half; flags in the upper, without AVAIL and USED
   */
  place(ahead: number, address: number, length: number, idAndFlags: number): void {
    const size = this.#size
    let position = this.#position + ahead
    if (position >= 2 * size) position -= 2 * size
    const at = (position < size ? position : position - size) << 2
    const last = idAndFlags | ((position < size ? DESC_F_AVAIL : DESC_F_USED) << 16)
    const descriptors = this.#descriptors
    if (ahead !== 0 || this.#unpublished !== 0) {
      writeDescriptor(descriptors, at, address, length, last)
      return
    }
    this.#heldBack = last
    descriptors[at] = address
    descriptors[at + 1] = address < HIGH ? 0 : Math.floor(address / HIGH)
    descriptors[at + 2] = length
  }

  /** @see VIRTIO 1.3 § 2.8.6 "Next Flag: Descriptor Chaining" */
  placeChain(id: number, chain: ChainBuilder): void {
    const { addresses, lengths, readable, count } = chain
    // VIRTIO 1.3 § 2.8.17 "Driver Requirements: Scatter-Gather Support": the first one last.
    for (let i = count - 1; i >= 0; i--) {
      const flags = (i < readable ? 0 : DESC_F_WRITE) | (i < count - 1 ? DESC_F_NEXT : 0)
      this.place(i, addresses[i]!, lengths[i]!, id | (flags << 16))
    }
  }

  /** Goes on behind the `count` descriptors just placed. */
  advance(count: number): void {
    this.#unpublished += count
    const position = this.#position + count
    this.#position = position < 2 * this.#size ? position : position - 2 * this.#size
  }

  /** Writes what was held back, with a full barrier on both sides. @returns the first descriptor's position on the circle */
  publish(): number {
    const size = this.#size
    let first = this.#position - this.#unpublished
    if (first < 0) first += 2 * size
    this.#unpublished = 0
    Atomics.store(this.#descriptors, ((first < size ? first : first - size) << 2) + 3, this.#heldBack)
    return first
  }
}
