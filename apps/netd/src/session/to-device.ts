import { addressOf, IoVector } from '@virtio-ts/native'
import type { TapQueue } from '@virtio-ts/tap'
import type { FrameTap } from './frame-tap.ts'
import type { PacketPair } from './packet-pair.ts'
import type { SessionCounters } from './session-counters.ts'

const budget = 64
const headerLength = 12

/**
 * Moves frames from the TAP to the transmit queue: the kernel writes header and frame straight into the ring's memory, and the
 * driver checks the header on its way. While the ring is full the TAP is left alone, and the kernel's own queue absorbs or drops.
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
    let moved = 0
    while (moved < budget && outcome === 'more') {
      const slot = this.#pair.reserve(this.#largest)
      if (slot < 0) outcome = 'full'
      else if (this.#read(slot)) moved++
      else outcome = 'idle'
    }
    if (moved > 0) this.#pair.publish()
    return outcome
  }

  /** One frame from the TAP into the slot. @returns false when there is none */
  #read(slot: number): boolean {
    const { bytes } = this.#pair
    const frame = this.#pair.frameOffset(slot)
    const header = frame - headerLength
    this.#vector.clear()
    this.#vector.append(this.#base + header, headerLength + this.#pair.capacity(slot))
    const got = this.#tap.read(this.#vector)
    if (got <= headerLength) {
      this.#pair.cancel(slot)
      return false
    }
    const length = got - headerLength
    if (this.#frames.active) this.#frames.transmitted(bytes, header, frame, length, this.#queue)
    if (this.#pair.commit(slot, length, bytes, header)) {
      this.#counters.fromTap(length)
    } else this.#counters.fromTapDropped()
    return true
  }
}
