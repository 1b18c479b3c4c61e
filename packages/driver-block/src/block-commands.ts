import { BlockRequest, VirtioError } from '@virtio-ts/spec'
import type { RangeLimits } from './block-limits.ts'
import type { ControlSlot } from './control-slot.ts'
import { eachPart, PARTS_AT_A_TIME } from './each-part.ts'
import type { ChannelRequest, RequestChannel } from './request-channel.ts'
import { type Part, splitRange } from './split-range.ts'
import type { Lease, StagingPool } from './staging-pool.ts'

const { ID_LENGTH, LIFETIME_LENGTH } = BlockRequest

/** How worn the storage is. @see VIRTIO 1.3 § 5.2.6 "Device Operation" */
export interface BlockLifetime {
  /** How many of the reserved blocks are consumed: below 80 %, 80 %, 90 %. */
  readonly preEndOfLife: 'undefined' | 'normal' | 'warning' | 'urgent'
  /** Wear of SLC cells in steps of 10 %: 0 undefined, 1 up to 10 %, 10 up to 100 %, 11 beyond. */
  readonly typeA: number
  /** Wear of MLC cells, the same way. */
  readonly typeB: number
}

const endOfLife = ['undefined', 'normal', 'warning', 'urgent'] as const
const MOST_WORN = 11

export interface BlockCommandsOptions {
  readonly channel: RequestChannel
  readonly pool: StagingPool
  readonly device: string
  readonly blockSize: number
}

/** Requests that move no data of the disk. */
export class BlockCommands {
  readonly #options: BlockCommandsOptions
  #flushes = 0

  constructor(options: BlockCommandsOptions) {
    this.#options = options
  }

  addStats(stats: Record<string, number>): void {
    stats.flushes = this.#flushes
  }

  async flush(signal: AbortSignal | undefined): Promise<void> {
    // VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation": sector 0, and no data.
    await this.act(BlockRequest.T_FLUSH, 0, signal)
    this.#flushes++
  }

  /** A request of nothing but its type, and maybe a sector. */
  act(type: number, sector: number, signal: AbortSignal | undefined): Promise<void> {
    return this.#exchange(
      () => ({ type, sector }),
      () => undefined,
      signal,
    )
  }

  deviceId(signal: AbortSignal | undefined): Promise<string> {
    return this.#ask(BlockRequest.T_GET_ID, ID_LENGTH, signal, (bytes) => {
      const end = bytes.indexOf(0)
      // It goes to logs and terminals, and comes from a device.
      return String.fromCharCode(...bytes.subarray(0, end < 0 ? ID_LENGTH : end)).replaceAll(/[^\x20-\x7e]/g, '?')
    })
  }

  lifetime(signal: AbortSignal | undefined): Promise<BlockLifetime> {
    return this.#ask(BlockRequest.T_GET_LIFETIME, LIFETIME_LENGTH, signal, (bytes) => {
      const view = new DataView(bytes.buffer)
      const [told, typeA, typeB] = [view.getUint16(0, true), view.getUint16(2, true), view.getUint16(4, true)]
      const preEndOfLife = endOfLife[told]
      if (preEndOfLife !== undefined && typeA <= MOST_WORN && typeB <= MOST_WORN) return { preEndOfLife, typeA, typeB }
      const { device } = this.#options
      throw new VirtioError(
        'block.bad-answer',
        `${device} states its lifetime as ${told}, ${typeA}, ${typeB}: at least one of them is reserved`,
        { device, detail: { preEndOfLife: told, typeA, typeB } },
      )
    })
  }

  /**
   * Discard, write zeroes or secure erase of a range, in as many requests as the limits need. Rejects as a whole.
   * @see VIRTIO 1.3 § 5.2.6.1 "Driver Requirements: Device Operation": what became of the segments of a failed request is not known
   */
  range(type: number, part: Part, limits: RangeLimits, unmap: boolean, signal: AbortSignal | undefined): Promise<void> {
    const requests = splitRange(part, limits, this.#options.blockSize, unmap)
    return eachPart(requests, PARTS_AT_A_TIME, (segments) =>
      this.#exchange(
        (slot) => ({ type, sector: 0, readable: [slot.putSegments(segments)] }),
        () => undefined,
        signal,
      ),
    )
  }

  #ask<T>(type: number, length: number, signal: AbortSignal | undefined, read: (bytes: Uint8Array) => T): Promise<T> {
    return this.#exchange(
      (slot) => ({ type, sector: 0, writable: [slot.answer(length)], answer: length }),
      (slot) => read(slot.takeAnswer(length)),
      signal,
    )
  }

  async #exchange<T>(
    build: (slot: ControlSlot) => ChannelRequest,
    take: (slot: ControlSlot) => T,
    signal: AbortSignal | undefined,
  ): Promise<T> {
    const { channel, pool } = this.#options
    const lease = pool.tryAcquire(0) ?? (await pool.acquire(0, signal))
    return exchange(channel, lease, build(lease.slot), signal, () => take(lease.slot))
  }
}

/** Sends a request, takes what came back, and lets the memory go. */
export async function exchange<T>(
  channel: RequestChannel,
  lease: Lease,
  request: ChannelRequest,
  signal: AbortSignal | undefined,
  take: () => T,
): Promise<T> {
  try {
    await channel.send(lease, request, signal)
    return take()
  } finally {
    lease.letGo()
  }
}
