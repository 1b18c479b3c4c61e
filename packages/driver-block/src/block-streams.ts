import type { BlockDriver } from './block-driver.ts'
import type { RequestControl } from './block-options.ts'

export interface ReadableOptions extends RequestControl {
  /** First byte, a multiple of the block size. @defaultValue 0 */
  readonly start?: number
  /** Behind the last byte, a multiple of the block size. @defaultValue the capacity */
  readonly end?: number
  /** Bytes of a chunk, rounded to whole blocks. @defaultValue 256 KiB */
  readonly chunkSize?: number
}

export interface WritableOptions extends RequestControl {
  /** First byte, a multiple of the block size. @defaultValue 0 */
  readonly start?: number
  /** Behind the last byte that may be written. @defaultValue the capacity */
  readonly end?: number
}

const CHUNK_SIZE = 256 * 1024
/** Chunks read ahead of whoever reads the stream. */
const AHEAD = 2

/** A stretch of the disk, in order; nothing is read that nobody asks for, but for what is read ahead. */
export function readableOf(
  block: BlockDriver,
  { start = 0, end = block.capacity, chunkSize = CHUNK_SIZE, signal }: ReadableOptions,
): ReadableStream<Uint8Array> {
  checkStretch(block, start, end)
  const size = Math.max(block.blockSize, chunkSize - (chunkSize % block.blockSize))
  const cancelled = new AbortController()
  const either = signal ? AbortSignal.any([signal, cancelled.signal]) : cancelled.signal
  let at = start
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (at < end) {
          const chunk = await block.read(at, Math.min(size, end - at), { signal: either })
          at += chunk.length
          controller.enqueue(chunk)
        }
        if (at >= end) controller.close()
      },
      cancel(reason) {
        cancelled.abort(reason)
      },
    },
    { highWaterMark: AHEAD },
  )
}

/**
 * Writes what it is given, in order, from `start` on; chunks of any length. The last block is filled up with what the disk has there. Closing it
 * flushes.
 */
export function writableOf(
  block: BlockDriver,
  { start = 0, end = block.capacity, signal }: WritableOptions,
): WritableStream<Uint8Array> {
  checkStretch(block, start, start)
  const { blockSize } = block
  const control = signal ? { signal } : {}
  let at = start
  let rest = new Uint8Array(0)
  return new WritableStream<Uint8Array>({
    async write(chunk) {
      if (at + rest.length + chunk.length > end)
        throw new RangeError(`the stream ends at ${end}: ${chunk.length} bytes more do not fit`)
      const length = rest.length + chunk.length
      const whole = length - (length % blockSize)
      if (whole === 0) {
        rest = joined(rest, chunk)
        return
      }
      const used = whole - rest.length
      await block.write(at, [rest, chunk.subarray(0, used)], control)
      at += whole
      rest = chunk.slice(used)
    },
    async close() {
      if (rest.length > 0) {
        const last = await block.read(at, blockSize, control)
        last.set(rest)
        await block.write(at, last, control)
      }
      await block.flush(control)
    },
  })
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(first.length + second.length)
  bytes.set(first)
  bytes.set(second, first.length)
  return bytes
}

function checkStretch({ blockSize, capacity }: BlockDriver, start: number, end: number): void {
  const fits = start >= 0 && start <= end && end <= capacity && start % blockSize === 0 && end % blockSize === 0
  if (!fits || !Number.isInteger(start) || !Number.isInteger(end))
    throw new RangeError(`bytes ${start} to ${end}: whole blocks of ${blockSize} bytes, of ${capacity} bytes of disk`)
}
