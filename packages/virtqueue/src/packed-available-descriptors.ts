import { PackedRing } from '@virtio-ts/spec'
import type { ChainBuilder } from './chain-builder.ts'
import { writeDescriptor } from './write-descriptor.ts'

const { DESC_F_NEXT, DESC_F_WRITE, DESC_F_AVAIL, DESC_F_USED } = PackedRing
const HIGH = 2 ** 32

// Flags as they stand in a descriptor's fourth word, above the id.
const BOTH = (DESC_F_AVAIL | DESC_F_USED) << 16
const FIRST_LAP = DESC_F_AVAIL << 16

/**
 * Writes available descriptors, one behind the other around the ring. Id and flags of the first one since `publish` are held back:
 * a device that goes through the ring in order stops there, so everything behind it may be written as it comes.
 * @see VIRTIO 1.3 § 2.8.21.1 "Placing Available Buffers Into The Descriptor Ring"
 */
export class PackedAvailableDescriptors {
  readonly descriptors: Uint32Array = new Uint32Array(0)
  readonly #size: number = 0
  /** The next descriptor. */
  #slot = 0
  /** Of that descriptor, while the wrap counter is 1: AVAIL, otherwise USED. */
  #flags = FIRST_LAP
  /** The next descriptor that `publish` shows, as a position on a circle of twice the ring's size. */
  #first = 0
  #unpublished = 0
  #heldBack = 0

  constructor(descriptors: Uint32Array, size: number) {
    this.descriptors = descriptors
    this.#size = size
  }

  /** The next descriptor. */
  get slot(): number {
    return this.#slot
  }

  /** Of that descriptor: AVAIL or USED, as they stand in its fourth word. */
  get flags(): number {
    return this.#flags
  }

  /** How many descriptors, of `count`, may be written from `slot` on as they come; `advance` then says that they are. */
  run(count: number): number {
    if (this.#unpublished === 0) return 0
    const rest = this.#size - this.#slot
    return count < rest ? count : rest
  }

  advance(count: number): void {
    this.#unpublished += count
    this.#slot += count
    if (this.#slot === this.#size) this.#wrap()
  }

  /** Descriptors since `publish`. */
  get unpublished(): number {
    return this.#unpublished
  }

  /** Position on the circle of the first descriptor that is not published: the wrap counter is 1 below the size, 0 from there on. */
  get first(): number {
    return this.#first
  }

  /** VIRTIO 1.3 § 2.8.1 "Driver and Device Ring Wrap Counters": they begin at 1. */
  reset(): void {
    this.#slot = 0
    this.#flags = FIRST_LAP
    this.#first = 0
    this.#unpublished = 0
  }

  /**
   * Writes the next descriptor.
   * @param idAndFlags id in the lower half; flags in the upper, without AVAIL and USED
   */
  place(address: number, length: number, idAndFlags: number): void {
    this.placeWords(address, address >>> 0 === address ? 0 : Math.floor(address / HIGH), length, idAndFlags)
  }

  /** The same, with the address's lower and upper 32 bits. */
  placeWords(low: number, high: number, length: number, idAndFlags: number): void {
    const slot = this.#slot
    const at = slot << 2
    const descriptors = this.descriptors
    descriptors[at] = low
    descriptors[at + 1] = high
    descriptors[at + 2] = length
    const last = idAndFlags | this.#flags
    if (this.#unpublished === 0) this.#heldBack = last
    else descriptors[at + 3] = last
    this.#unpublished++
    if (slot + 1 < this.#size) this.#slot = slot + 1
    else this.#wrap()
  }

  /** @see VIRTIO 1.3 § 2.8.6 "Next Flag: Descriptor Chaining" */
  placeChain(id: number, chain: ChainBuilder): void {
    const { addresses, lengths, readable, count } = chain
    const size = this.#size
    const first = this.#slot
    const firstFlags = this.#flags
    // VIRTIO 1.3 § 2.8.17 "Driver Requirements: Scatter-Gather Support": the first one last.
    for (let i = count - 1; i > 0; i--) {
      const wrapped = first + i >= size
      const slot = wrapped ? first + i - size : first + i
      const flags = (i < readable ? 0 : DESC_F_WRITE) | (i < count - 1 ? DESC_F_NEXT : 0)
      const last = id | (flags << 16) | (wrapped ? firstFlags ^ BOTH : firstFlags)
      writeDescriptor(this.descriptors, slot << 2, addresses[i]!, lengths[i]!, last)
    }
    const flags = (readable > 0 ? 0 : DESC_F_WRITE) | (count > 1 ? DESC_F_NEXT : 0)
    this.place(addresses[0]!, lengths[0]!, id | (flags << 16))
    for (let i = 1; i < count; i++) this.#skip()
  }

  /** Writes what was held back, with a full barrier on both sides. @returns the first descriptor's position on the circle */
  publish(): number {
    const size = this.#size
    const first = this.#first
    const behind = first + this.#unpublished
    this.#first = behind < 2 * size ? behind : behind - 2 * size
    this.#unpublished = 0
    Atomics.store(this.descriptors, ((first < size ? first : first - size) << 2) + 3, this.#heldBack)
    return first
  }

  #skip(): void {
    this.#unpublished++
    if (++this.#slot === this.#size) this.#wrap()
  }

  #wrap(): void {
    this.#slot = 0
    this.#flags ^= BOTH
  }
}
