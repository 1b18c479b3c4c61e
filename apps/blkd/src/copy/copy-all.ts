import { zeroRuns } from '@virtio-ts/nbd'
import type { CopySource, CopyTarget } from './copy-ends.ts'

const CHUNK = 1024 * 1024
const AT_A_TIME = 4

export interface CopyResult {
  readonly bytes: number
  /** Bytes that were written. */
  readonly data: number
  /** Bytes that were zeroes, and took no writing. */
  readonly zeroes: number
}

/**
 * Copies everything, some chunks at a time. After a failure or an abort no new ones are begun; rejects when none is under way any more.
 * @param onProgress called with the bytes that are done
 */
export async function copyAll(
  source: CopySource,
  target: CopyTarget,
  signal: AbortSignal,
  onProgress: (done: number) => void,
): Promise<CopyResult> {
  let next = 0
  let data = 0
  let zeroes = 0
  const failures: unknown[] = []
  const copyChunk = async (offset: number): Promise<void> => {
    const bytes = await source.read(offset, Math.min(CHUNK, source.size - offset))
    for (const { start, end, zero } of zeroRuns(bytes, target.granule)) {
      signal.throwIfAborted()
      if (zero) await target.zero(offset + start, end - start)
      else await target.write(offset + start, bytes.subarray(start, end))
      if (zero) zeroes += end - start
      else data += end - start
    }
    onProgress(data + zeroes)
  }
  const worker = async (): Promise<void> => {
    while (next < source.size && failures.length === 0) {
      const offset = next
      next += CHUNK
      try {
        signal.throwIfAborted()
        await copyChunk(offset)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, worker))
  if (failures.length > 0) throw failures[0]
  return { bytes: source.size, data, zeroes }
}
