import type { RequestBuffer } from '@virtio-ts/core'
import { BlockConfig, BlockRequest } from '@virtio-ts/spec'
import type { BlockLimits } from './block-limits.ts'
import { ByteList } from './byte-list.ts'
import type { Slice } from './control-slot.ts'
import { eachPart, PARTS_AT_A_TIME } from './each-part.ts'
import type { RequestChannel } from './request-channel.ts'
import { type BufferPart, sliceOf, splitBuffers } from './split-buffers.ts'
import { type Part, splitTransfer } from './split-range.ts'
import type { Lease, StagingPool } from './staging-pool.ts'

const { SECTOR } = BlockConfig
/** Bytes of one request with copied data: more makes nothing faster. */
const LONGEST_COPY = 256 * 1024
/** Bytes of one request with the caller's buffers. */
const LONGEST_DIRECT = 16 * 1024 * 1024

export interface TransferOptions {
  readonly channel: RequestChannel
  readonly pool: StagingPool
  readonly limits: BlockLimits
  /** Segments of one request: what device and ring allow. */
  readonly segMax: number
  /** What the length of a request is a multiple of: see `unitOf`. */
  readonly unit: number
  /** Throws when there is no such range on the disk any more. */
  readonly check: (offset: number, length: number) => void
}

/** What requests are multiples of: blocks, and write units of zones; sectors where the limits of a device leave no room for those. */
export function unitOf({ blockSize, sizeMax, zoned }: BlockLimits, segMax: number): number {
  const unit = Math.max(blockSize, zoned?.writeGranularity ?? 0)
  return segMax * sizeMax >= unit ? unit : SECTOR
}

/** Moves data: cut into requests, copied or where it lies. */
export class Transfer {
  readonly #options: TransferOptions
  /** Bytes of one request: with copied data, and with the caller's buffers. */
  readonly #mostCopied: number
  readonly #mostDirect: number
  readonly #zoneSize: number
  #bytesRead = 0
  #bytesWritten = 0
  #reads = 0
  #writes = 0

  constructor(options: TransferOptions) {
    const { pool, limits, segMax, unit } = options
    const { zoned, sizeMax } = limits
    // Half of what there is, so that two can be on their way.
    const buffers = Math.min(segMax, Math.max(1, Math.floor(pool.bufferLimit / 2)))
    const whole = (bytes: number): number => Math.max(unit, bytes - (bytes % unit))
    this.#options = options
    this.#mostCopied = whole(Math.min(LONGEST_COPY, buffers * pool.bufferLength))
    this.#mostDirect = whole(Math.min(LONGEST_DIRECT, segMax * sizeMax))
    this.#zoneSize = zoned?.zoneSize ?? 0
  }

  /** Bytes that one request can carry, copied. */
  get mostCopied(): number {
    return this.#mostCopied
  }

  /** Counts a request that went well. */
  count(isRead: boolean, length: number): void {
    if (isRead) {
      this.#reads++
      this.#bytesRead += length
    } else {
      this.#writes++
      this.#bytesWritten += length
    }
  }

  addStats(stats: Record<string, number>): void {
    stats.reads = this.#reads
    stats.writes = this.#writes
    stats.bytes_read = this.#bytesRead
    stats.bytes_written = this.#bytesWritten
  }

  read(offset: number, target: ByteList, signal: AbortSignal | undefined): Promise<void> {
    const run = (part: Part): Promise<void> => this.#readPart(part, target, part.offset - offset, signal)
    return this.#each(offset, target.length, PARTS_AT_A_TIME, run)
  }

  write(offset: number, source: ByteList, signal: AbortSignal | undefined): Promise<void> {
    const run = (part: Part): Promise<void> => this.#writePart(part, source, part.offset - offset, signal)
    return this.#each(offset, source.length, this.#writesAtATime, run)
  }

  /**
   * Reads into, or writes from, the caller's buffers.
   * @param onReleased called once, when the device owns none of them any more
   */
  async direct(
    type: number,
    offset: number,
    buffers: readonly RequestBuffer[],
    signal: AbortSignal | undefined,
    onReleased: (() => void) | undefined,
  ): Promise<void> {
    const { sizeMax } = this.#options.limits
    const { segMax, pool, unit } = this.#options
    const cut = { sizeMax, segMax, most: this.#mostDirect, unit, zoneSize: this.#zoneSize }
    // One more than there are requests: for this function, which may not come to send them all.
    let holders = 1
    const letGo = (): void => {
      if (--holders === 0) onReleased?.()
    }
    try {
      const parts = splitBuffers(buffers.map(sliceOf), offset, cut)
      const isRead = type === BlockRequest.T_IN
      await eachPart(parts, isRead ? PARTS_AT_A_TIME : this.#writesAtATime, async (part) => {
        if (part.copied) {
          const bytes = new ByteList(part.segments.map(bytesOf))
          await (isRead ? this.#readPart(part, bytes, 0, signal) : this.#writePart(part, bytes, 0, signal))
          return
        }
        const lease = pool.tryAcquire(0) ?? (await pool.acquire(0, signal))
        holders++
        await this.#send(lease, type, part, part.segments, signal, letGo)
        lease.letGo()
        this.count(isRead, part.length)
      })
    } finally {
      // Not before the caller has the promise.
      queueMicrotask(letGo)
    }
  }

  /** The data of one request that the driver makes whole, e.g. an append: copied. @param length at most `mostCopied` */
  async stage(
    source: ByteList,
    signal: AbortSignal | undefined,
  ): Promise<{ lease: Lease; segments: readonly Slice[] }> {
    const lease = await this.#lease(source.length, signal)
    return { lease, segments: fill(lease, source, 0, source.length) }
  }

  /** Room for the answer to one request, of zeroes. */
  async room(length: number, signal: AbortSignal | undefined): Promise<{ lease: Lease; segments: readonly Slice[] }> {
    const lease = await this.#lease(length, signal)
    const segments = segmentsOf(lease, length)
    for (const { region, offset, length: bytes } of segments) region.bytes.fill(0, offset, offset + bytes)
    return { lease, segments }
  }

  /** A zoned device wants what is written to a zone in order. */
  get #writesAtATime(): number {
    return this.#zoneSize > 0 ? 1 : PARTS_AT_A_TIME
  }

  #each(offset: number, length: number, atATime: number, run: (part: Part) => Promise<void>): Promise<void> {
    const single =
      length <= this.#mostCopied && (this.#zoneSize === 0 || (offset % this.#zoneSize) + length <= this.#zoneSize)
    if (single) return run({ offset, length })
    return eachPart(splitTransfer(offset, length, this.#mostCopied, this.#zoneSize), atATime, run)
  }

  async #readPart(part: Part, target: ByteList, at: number, signal: AbortSignal | undefined): Promise<void> {
    const lease = this.#tryLease(part.length) ?? (await this.#lease(part.length, signal))
    const segments = segmentsOf(lease, part.length)
    await this.#send(lease, BlockRequest.T_IN, part, segments, signal)
    let position = at
    for (const { region, offset, length } of segments) {
      target.copyFrom(region.bytes.subarray(offset, offset + length), position)
      position += length
    }
    lease.letGo()
    this.count(true, part.length)
  }

  async #writePart(part: Part, source: ByteList, at: number, signal: AbortSignal | undefined): Promise<void> {
    const lease = this.#tryLease(part.length) ?? (await this.#lease(part.length, signal))
    const segments = fill(lease, source, at, part.length)
    await this.#send(lease, BlockRequest.T_OUT, part, segments, signal)
    lease.letGo()
    this.count(false, part.length)
  }

  /** On failure the lease is let go for the caller too. */
  async #send(
    lease: Lease,
    type: number,
    { offset, length }: Part | BufferPart,
    segments: readonly Slice[],
    signal: AbortSignal | undefined,
    onReleased?: () => void,
  ): Promise<void> {
    const { channel, check } = this.#options
    let sent = false
    try {
      // The disk may have shrunk while this waited for memory.
      check(offset, length)
      sent = true
      const sector = offset / SECTOR
      if (type === BlockRequest.T_IN)
        await channel.send(lease, { type, sector, writable: segments, answer: length }, signal, onReleased)
      else await channel.send(lease, { type, sector, readable: segments }, signal, onReleased)
    } catch (error) {
      lease.letGo()
      if (!sent) {
        lease.letGo()
        onReleased?.()
      }
      throw error
    }
  }

  #tryLease(length: number): Lease | undefined {
    return this.#options.pool.tryAcquire(Math.ceil(length / this.#options.pool.bufferLength))
  }

  #lease(length: number, signal: AbortSignal | undefined): Promise<Lease> {
    return this.#options.pool.acquire(Math.ceil(length / this.#options.pool.bufferLength), signal)
  }
}

function bytesOf({ region, offset, length }: Slice): Uint8Array {
  return region.bytes.subarray(offset, offset + length)
}

/** The first `length` bytes of a lease's buffers. */
function segmentsOf({ buffers }: Lease, length: number): Slice[] {
  let left = length
  return buffers.map((buffer) => {
    const count = Math.min(left, buffer.length)
    left -= count
    return count === buffer.length ? buffer : { ...buffer, length: count }
  })
}

function fill(lease: Lease, source: ByteList, at: number, length: number): Slice[] {
  const segments = segmentsOf(lease, length)
  let position = at
  for (const { region, offset, length: count } of segments) {
    source.copyTo(region.bytes.subarray(offset, offset + count), position)
    position += count
  }
  return segments
}
