import type { CaptureDirection, CaptureSink } from '../capture/packet-tap.ts'

/*
 * Captured frames on their way to another thread, one behind the other in a buffer that is handed over:
 *   u32 bytes of the record, u8 direction, u8 bytes of the header, u16 queue, u64 time, header, frame
 */
const RECORD_HEADER = 16
const bytesPerBatch = 256 << 10

/** Collects frames. */
export class FrameBatch {
  readonly #bytes: Uint8Array<ArrayBuffer>
  readonly #view: DataView
  #length = 0

  /** @param needed bytes of the first frame and its header: a batch takes at least that */
  constructor(needed: number) {
    this.#bytes = new Uint8Array(Math.max(bytesPerBatch, RECORD_HEADER + needed))
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** Bytes this batch takes of the memory both threads share it in. */
  get size(): number {
    return this.#bytes.length
  }

  /** @returns false when it does not fit any more */
  add(
    time: bigint,
    direction: CaptureDirection,
    queue: number,
    header: Uint8Array,
    segments: readonly Uint8Array[],
  ): boolean {
    let length = RECORD_HEADER + header.length
    for (const segment of segments) length += segment.length
    if (this.#length + length > this.#bytes.length) return false
    const start = this.#length
    this.#view.setUint32(start, length, true)
    this.#view.setUint8(start + 4, direction === 'rx' ? 0 : 1)
    this.#view.setUint8(start + 5, header.length)
    this.#view.setUint16(start + 6, queue, true)
    this.#view.setBigUint64(start + 8, time, true)
    this.#bytes.set(header, start + RECORD_HEADER)
    let offset = start + RECORD_HEADER + header.length
    for (const segment of segments) {
      this.#bytes.set(segment, offset)
      offset += segment.length
    }
    this.#length += length
    return true
  }

  /** What was added, to be handed over; the batch is at its end. */
  take(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length)
  }
}

/** Gives every frame of a batch to every sink. */
export function replayFrames(batch: Uint8Array, sinks: Iterable<CaptureSink>): void {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength)
  for (let start = 0; start < batch.length; start += view.getUint32(start, true)) {
    const direction = view.getUint8(start + 4) === 0 ? 'rx' : 'tx'
    const body = start + RECORD_HEADER
    const frame = body + view.getUint8(start + 5)
    const end = start + view.getUint32(start, true)
    for (const sink of sinks)
      sink.captureAt(
        view.getBigUint64(start + 8, true),
        direction,
        view.getUint16(start + 6, true),
        batch.subarray(body, frame),
        batch.subarray(frame, end),
      )
  }
}
