import type { RequestBuffer } from '@virtio-ts/core'
import { BlockConfig, BlockRequest } from '@virtio-ts/spec'
import type { BlockLimits } from './block-limits.ts'
import type { Slice } from './control-slot.ts'
import { type QuickOwner, QuickRequest, stretchOf } from './quick-request.ts'
import type { RequestChannel } from './request-channel.ts'
import type { Lease, StagingPool } from './staging-pool.ts'
import type { Transfer } from './transfer.ts'

const { SECTOR } = BlockConfig

export interface QuickPathOptions {
  readonly channel: RequestChannel
  readonly pool: StagingPool
  readonly limits: BlockLimits
  /** What the length of a request is a multiple of. */
  readonly unit: number
  /** Told of each request that went well. */
  readonly transfer: Transfer
}

/**
 * The way of the requests that most are: one segment, sent at once, given up by nobody. Each method returns undefined for any other
 * (too long, too odd, no memory free at the moment), which then takes the long way and is refused there if it has to be.
 */
export class QuickPath implements QuickOwner {
  readonly #options: QuickPathOptions
  readonly #longest: number
  readonly #free: QuickRequest[] = []

  constructor(options: QuickPathOptions) {
    const { sizeMax, zoned } = options.limits
    this.#options = options
    this.#longest = zoned ? 0 : sizeMax
  }

  /** With the caller's buffer, if it is but one. */
  direct(
    type: number,
    offset: number,
    buffers: readonly RequestBuffer[],
    onReleased: (() => void) | undefined,
  ): Promise<unknown> | undefined {
    const buffer = buffers.length === 1 ? buffers[0] : undefined
    const length = buffer?.length ?? 0
    const segment = buffer && this.#fits(length, this.#longest) ? stretchOf(buffer) : undefined
    const lease = segment && this.#options.pool.tryAcquire(0)
    return lease && this.#send(type, offset, length, lease, segment, undefined, onReleased)
  }

  /** Copied, as long as one buffer of the pool. */
  read(offset: number, target: Uint8Array): Promise<unknown> | undefined {
    const lease = this.#leaseFor(target.length)
    const segment = lease?.buffers[0]
    return segment && this.#send(BlockRequest.T_IN, offset, target.length, lease, segment, target, undefined)
  }

  write(offset: number, source: Uint8Array): Promise<unknown> | undefined {
    const lease = this.#leaseFor(source.length)
    const segment = lease?.buffers[0]
    if (!segment) return undefined
    segment.region.bytes.set(source, segment.offset)
    return this.#send(BlockRequest.T_OUT, offset, source.length, lease, segment, undefined, undefined)
  }

  failureOf({ work, lane }: QuickRequest, written: number): unknown {
    if (!work || !lane) return undefined
    const { lease, type, sector, length } = work
    const answer = type === BlockRequest.T_IN ? length : 0
    return this.#options.channel.failureOf(lane, { type, sector, answer }, lease.slot.takeStatus(), written)
  }

  done({ work }: QuickRequest): void {
    if (work) this.#options.transfer.count(work.type === BlockRequest.T_IN, work.length)
  }

  released(request: QuickRequest): void {
    this.#free.push(request)
  }

  #fits(length: number, longest: number): boolean {
    return length > 0 && length <= longest && length % this.#options.unit === 0
  }

  #leaseFor(length: number): Lease | undefined {
    const { pool } = this.#options
    return this.#fits(length, Math.min(this.#longest, pool.bufferLength)) ? pool.tryAcquire(1) : undefined
  }

  #send(
    type: number,
    offset: number,
    length: number,
    lease: Lease,
    segment: Slice,
    target: Uint8Array | undefined,
    onReleased: (() => void) | undefined,
  ): Promise<unknown> | undefined {
    const request = this.#free.pop() ?? new QuickRequest(this)
    const promise = request.begin({ type, sector: offset / SECTOR, length, lease, segment, target, onReleased })
    try {
      request.lane = this.#options.channel.submit(request)
      return promise
    } catch {
      // The long way finds the same, and has words for it.
      request.drop()
      this.#free.push(request)
      return undefined
    }
  }
}
