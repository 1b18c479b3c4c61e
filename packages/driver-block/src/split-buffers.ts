import type { RequestBuffer } from '@virtio-ts/core'
import type { Slice } from './control-slot.ts'

export interface BufferLimits {
  /** Bytes of one segment. */
  readonly sizeMax: number
  /** Segments of one request. */
  readonly segMax: number
  /** Bytes of one request. */
  readonly most: number
  /** What the length of a request is a multiple of. */
  readonly unit: number
  /** Bytes; requests do not reach from one zone into the next. 0 for no zones. */
  readonly zoneSize: number
}

/** One request's worth of the caller's memory. */
export interface BufferPart {
  readonly offset: number
  readonly length: number
  readonly segments: readonly Slice[]
  /** Too many segments for a request: the data goes through memory of the driver's. */
  readonly copied: boolean
}

/** @throws RangeError for a stretch that is not within its region */
export function sliceOf(buffer: RequestBuffer): Slice {
  if (!('region' in buffer)) return { region: buffer, offset: 0, length: buffer.length }
  const { region, offset, length } = buffer
  const inside = Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && length >= 0
  if (inside && offset + length <= region.length) return buffer
  throw new RangeError(`bytes ${offset} to ${offset + length} of a region of ${region.length} bytes`)
}

/**
 * Cuts a list of buffers into requests: no segment too long, not too many of them, whole blocks. A block in so many pieces that no request
 * can have them is marked to be copied.
 * @param offset of the first byte on the disk
 */
export function splitBuffers(buffers: readonly Slice[], offset: number, limits: BufferLimits): readonly BufferPart[] {
  const cursor = new BufferCursor(buffers, limits.sizeMax)
  const parts: BufferPart[] = []
  for (let at = offset; !cursor.done; ) {
    const zoneLeft = limits.zoneSize > 0 ? limits.zoneSize - (at % limits.zoneSize) : limits.most
    let segments = cursor.take(limits.segMax, Math.min(limits.most, zoneLeft))
    let length = total(segments)
    const excess = length % limits.unit
    const copied = length === excess
    cursor.putBack(segments, excess)
    length -= excess
    if (copied) {
      segments = cursor.take(Number.POSITIVE_INFINITY, limits.unit)
      length = total(segments)
    }
    parts.push({ offset: at, length, segments, copied })
    at += length
  }
  return parts
}

function total(slices: readonly Slice[]): number {
  return slices.reduce((sum, { length }) => sum + length, 0)
}

/** Walks through buffers, a segment at a time. */
class BufferCursor {
  readonly #buffers: readonly Slice[]
  readonly #sizeMax: number
  #index = 0
  #offset = 0

  constructor(buffers: readonly Slice[], sizeMax: number) {
    this.#buffers = buffers.filter(({ length }) => length > 0)
    this.#sizeMax = sizeMax
  }

  get done(): boolean {
    return this.#index === this.#buffers.length
  }

  take(most: number, bytes: number): Slice[] {
    const segments: Slice[] = []
    let left = bytes
    while (segments.length < most && left > 0 && !this.done) {
      const { region, offset, length } = this.#buffers[this.#index]!
      const count = Math.min(length - this.#offset, this.#sizeMax, left)
      segments.push({ region, offset: offset + this.#offset, length: count })
      left -= count
      this.#forward(count)
    }
    return segments
  }

  /** Takes `bytes` from the end of the segments, to be taken again. */
  putBack(segments: Slice[], bytes: number): void {
    for (let left = bytes; left > 0; ) {
      const last = segments.pop()!
      const count = Math.min(left, last.length)
      if (count < last.length) segments.push({ ...last, length: last.length - count })
      left -= count
      this.#back(count)
    }
  }

  #forward(count: number): void {
    this.#offset += count
    if (this.#offset < this.#buffers[this.#index]!.length) return
    this.#index++
    this.#offset = 0
  }

  #back(count: number): void {
    if (this.#offset === 0) {
      this.#index--
      this.#offset = this.#buffers[this.#index]!.length
    }
    this.#offset -= count
  }
}
