import { addressOf, IoVector } from '@virtio-ts/native'
import type { TapQueue } from '@virtio-ts/tap'
import type { FrameTap } from './frame-tap.ts'
import type { PacketPair } from './packet-pair.ts'
import type { SessionCounters } from './session-counters.ts'

const budget = 64
const headerLength = 12
/** Bytes that every slot takes. */
const ordinaryLength = 1514
/** Slots that take more than this are the long ones, of which there are few. */
const longCapacity = 16384

/**
 * Moves frames from the TAP to the transmit queue: the kernel writes header and frame straight into the ring's memory, and the
 * driver checks the header on its way. While the ring is full the TAP is left alone, and the kernel's own queue absorbs or drops.
 *
 * How long a frame is shows once it has been read, so each is read into the slot for the longest. There are few of those where the kernel
 * leaves segmentation to the device: a frame that fits an ordinary slot is copied there, and the long one is used for the next.
 */
export class ToDevice {
  readonly #pair: PacketPair
  readonly #tap: TapQueue
  readonly #counters: SessionCounters
  readonly #frames: FrameTap
  readonly #base: number
  readonly #vector = new IoVector(1)
  readonly #largest: number
  readonly #queue: number

  /**
   * @param largest bytes of the largest frame the TAP hands over
   * @param queue the pair's index, for captures
   */
  constructor(
    pair: PacketPair,
    tap: TapQueue,
    counters: SessionCounters,
    frames: FrameTap,
    largest: number,
    queue: number,
  ) {
    this.#pair = pair
    this.#tap = tap
    this.#counters = counters
    this.#frames = frames
    this.#largest = Math.min(largest, pair.maxFrameLength)
    this.#base = addressOf(pair.bytes)
    this.#queue = queue
  }

  /** @returns `more` when the budget ran out, `full` when the ring has no room, `idle` when the TAP is empty */
  turn(): 'more' | 'full' | 'idle' {
    let outcome: 'more' | 'full' | 'idle' = 'more'
    let slot = -1
    let moved = 0
    while (moved < budget && outcome === 'more') {
      if (slot < 0) slot = this.#pair.reserve(this.#largest)
      if (slot < 0) {
        outcome = 'full'
        break
      }
      const length = this.#read(slot)
      if (length > 0) {
        moved++
        slot = this.#send(slot, length)
      } else outcome = 'idle'
    }
    if (slot >= 0) this.#pair.cancel(slot)
    if (moved > 0) this.#pair.publish()
    return outcome
  }

  /** One frame from the TAP into the slot. @returns its bytes; 0 or less when there is none */
  #read(slot: number): number {
    this.#vector.clear()
    this.#vector.append(
      this.#base + this.#pair.frameOffset(slot) - headerLength,
      headerLength + this.#pair.capacity(slot),
    )
    return this.#tap.read(this.#vector) - headerLength
  }

  /** @returns the slot when it is still free, for the frame was sent from another one; -1 when it is used up */
  #send(slot: number, length: number): number {
    const isShort = length <= ordinaryLength && this.#pair.capacity(slot) > longCapacity
    const ordinary = isShort ? this.#pair.reserve(length) : -1
    if (ordinary < 0) {
      this.#commit(slot, length)
      return -1
    }
    const { bytes } = this.#pair
    const from = this.#pair.frameOffset(slot) - headerLength
    bytes.copyWithin(this.#pair.frameOffset(ordinary) - headerLength, from, from + headerLength + length)
    this.#commit(ordinary, length)
    return slot
  }

  #commit(slot: number, length: number): void {
    const { bytes } = this.#pair
    const frame = this.#pair.frameOffset(slot)
    const header = frame - headerLength
    if (this.#frames.active) this.#frames.transmitted(bytes, header, frame, length, this.#queue)
    if (this.#pair.commit(slot, length, bytes, header)) this.#counters.fromTap(length)
    else this.#counters.fromTapDropped()
  }
}
