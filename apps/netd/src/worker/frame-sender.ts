import { captureTime } from '../capture/capture-time.ts'
import type { CaptureDirection } from '../capture/packet-tap.ts'
import type { FrameListener } from '../session/frame-tap.ts'
import { FrameBatch } from './frame-batch.ts'

/** Bytes of captured frames that may be under way to the other thread. */
const maxUnderWay = 4 << 20

/** Sends copies of frames to another thread. While that thread does not keep up they are dropped and counted, never waited for. */
export class FrameSender implements FrameListener {
  readonly #send: (batch: Uint8Array<ArrayBuffer>, dropped: number) => void
  #batch: FrameBatch | undefined
  #underWay = 0
  #dropped = 0

  /** @param send hands the batch's buffer over; `dropped` is how many frames are missing before it */
  constructor(send: (batch: Uint8Array<ArrayBuffer>, dropped: number) => void) {
    this.#send = send
  }

  capture(direction: CaptureDirection, queue: number, header: Uint8Array, ...segments: Uint8Array[]): void {
    this.captureAt(captureTime(), direction, queue, header, ...segments)
  }

  captureAt(
    time: bigint,
    direction: CaptureDirection,
    queue: number,
    header: Uint8Array,
    ...segments: Uint8Array[]
  ): void {
    if (this.#batch?.add(time, direction, queue, header, segments)) return
    this.flush()
    if (this.#underWay >= maxUnderWay) {
      this.#dropped++
      return
    }
    this.#batch = new FrameBatch(segments.reduce((sum, { length }) => sum + length, header.length))
    this.#batch.add(time, direction, queue, header, segments)
    setImmediate(() => this.flush())
  }

  missed(count: number): void {
    this.#dropped += count
  }

  /** The other thread has dealt with this many bytes of batches. */
  taken(bytes: number): void {
    this.#underWay -= bytes
  }

  /** Sends what has been collected. */
  flush(): void {
    const batch = this.#batch?.take()
    this.#batch = undefined
    if (batch === undefined || batch.length === 0) return
    this.#underWay += batch.buffer.byteLength
    this.#send(batch, this.#dropped)
    this.#dropped = 0
  }
}
