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
  readonly #channel: RequestChannel
  readonly #pool: StagingPool
  readonly #transfer: Transfer
  readonly #unit: number
  readonly #longest: number
  readonly #free: QuickRequest[] = []

  constructor(options: QuickPathOptions) {
    const { sizeMax, zoned } = options.limits
    this.#channel = options.channel
    this.#pool = options.pool
    this.#transfer = options.transfer
    this.#unit = options.unit
    this.#longest = zoned ? 0 : sizeMax
  }

  /** With the caller's buffer. */
  direct(
    type: number,
    offset: number,
    buffer: RequestBuffer,
    onReleased: (() => void) | undefined,
  ): Promise<unknown> | undefined {
    const { length } = buffer
    const segment = this.#fits(length, this.#longest) ? stretchOf(buffer) : undefined
    const lease = segment && this.#pool.tryAcquire(0)
    return lease && this.#send(type, offset, length, lease, segment, undefined, onReleased)
  }

  /** Copied, as long as one buffer of the pool. @returns a promise of `target` */
  read<T extends Uint8Array>(offset: number, target: T): Promise<T> | undefined {
    const lease = this.#leaseFor(target.length)
    const segment = lease?.buffers[0]
    if (!segment) return undefined
    return this.#send(BlockRequest.T_IN, offset, target.length, lease, segment, target, undefined) as
      | Promise<T>
      | undefined
  }

  write(offset: number, source: Uint8Array): Promise<unknown> | undefined {
    const lease = this.#leaseFor(source.length)
    const segment = lease?.buffers[0]
    if (!segment) return undefined
    segment.region.bytes.set(source, segment.offset)
    return this.#send(BlockRequest.T_OUT, offset, source.length, lease, segment, undefined, undefined)
  }

  failureOf({ lane, type, sector, length }: QuickRequest, status: number, written: number): unknown {
    const answer = type === BlockRequest.T_IN ? length : 0
    const channel = this.#channel
    if (channel.wentWell(status, answer, written) || lane === undefined) return undefined
    return channel.failureOf(lane, { type, sector, answer }, status, written)
  }

  done({ type, length }: QuickRequest): void {
    this.#transfer.count(type === BlockRequest.T_IN, length)
  }

  released(request: QuickRequest): void {
    this.#free.push(request)
  }

  #fits(length: number, longest: number): boolean {
    return length > 0 && length <= longest && length % this.#unit === 0
  }

  #leaseFor(length: number): Lease | undefined {
    const pool = this.#pool
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
    const promise = request.begin(type, offset / SECTOR, length, lease, segment, target, onReleased)
    try {
      request.lane = this.#channel.submit(request)
      return promise
    } catch {
      // The long way finds the same, and has words for it.
      request.drop()
      this.#free.push(request)
      return undefined
    }
  }
}
