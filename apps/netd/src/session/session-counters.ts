const FROM_TAP_FRAMES = 0
const FROM_TAP_BYTES = 1
const FROM_TAP_DROPS = 2
const TO_TAP_FRAMES = 3
const TO_TAP_BYTES = 4
const TAP_FULL_DROPS = 5
const TAP_DOWN_DROPS = 6
const TAP_REFUSED_DROPS = 7

const names = [
  'from_tap_frames',
  'from_tap_bytes',
  'from_tap_drops',
  'to_tap_frames',
  'to_tap_bytes',
  'tap_full_drops',
  'tap_down_drops',
  'tap_refused_drops',
] as const

/**
 * What passed between the TAP and the device on one pair of queues, and what did not, with the reason. Frames and bytes since the
 * session began. One thread counts, any may read.
 */
export class SessionCounters {
  /** Give it to the constructor in another thread to read, or go on counting, there. */
  readonly memory: SharedArrayBuffer
  readonly #values: Float64Array

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(names.length * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory
    this.#values = new Float64Array(memory)
  }

  fromTap(length: number): void {
    this.#add(FROM_TAP_FRAMES, 1)
    this.#add(FROM_TAP_BYTES, length)
  }

  /** The driver refused the frame's header. */
  fromTapDropped(): void {
    this.#add(FROM_TAP_DROPS, 1)
  }

  toTap(length: number): void {
    this.#add(TO_TAP_FRAMES, 1)
    this.#add(TO_TAP_BYTES, length)
  }

  /** The kernel's queue was full (EAGAIN). */
  tapFull(): void {
    this.#add(TAP_FULL_DROPS, 1)
  }

  /** The interface was down (EIO). */
  tapDown(): void {
    this.#add(TAP_DOWN_DROPS, 1)
  }

  /** The kernel did not take the frame (EINVAL and others). */
  tapRefused(): void {
    this.#add(TAP_REFUSED_DROPS, 1)
  }

  /** Adds everything to `sums`, by name. */
  addTo(sums: Record<string, number>): void {
    for (const [index, name] of names.entries()) sums[name] = (sums[name] ?? 0) + (this.#values[index] as number)
  }

  /** Only how many frames went each way, with this in front of the names. */
  addFramesTo(stats: Record<string, number>, prefix: string): void {
    for (const index of [FROM_TAP_FRAMES, TO_TAP_FRAMES] as const)
      stats[`${prefix}${names[index]}`] = this.#values[index] as number
  }

  #add(index: number, value: number): void {
    this.#values[index] = (this.#values[index] as number) + value
  }
}
