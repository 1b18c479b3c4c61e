import type { RequestBuffer, RequestQueue, SubmittedRequest, Virtqueue, VirtioDevice } from '@virtio-ts/core'
import { BlockConfig, BlockRequest, VirtioError } from '@virtio-ts/spec'
import { requestName, statusMeaning } from './block-request.ts'
import type { BlockDriverFeature, BlockQueue } from './block-spec.ts'
import { queueName } from './block-spec.ts'
import type { Lease } from './staging-pool.ts'

const { SECTOR } = BlockConfig

export type BlockDevice = VirtioDevice<BlockDriverFeature, BlockQueue>

export interface ChannelRequest {
  readonly type: number
  /** In 512-byte units. */
  readonly sector: number
  readonly readable?: readonly RequestBuffer[]
  readonly writable?: readonly RequestBuffer[]
  /** Bytes in front of the status byte that must have been written where all went well. */
  readonly answer?: number
}

/** One of the device's queues. */
export interface RequestLane {
  readonly name: BlockQueue
  readonly queue: Virtqueue
  readonly requests: RequestQueue
}

export interface ChannelOptions {
  readonly device: BlockDevice
  readonly queues: number
  /** Whether the device is held to the lengths it reports. */
  readonly strict: boolean
  readonly zoned: boolean
}

/** Sends requests, by the queue with the least in it, and makes errors of their statuses. */
export class RequestChannel {
  readonly #options: ChannelOptions
  readonly #strict: boolean
  readonly #lanes: readonly RequestLane[]
  #next = 0
  #failed = 0
  #missed = 0
  #notifiedAgain = 0

  constructor(options: ChannelOptions) {
    const { device, queues } = options
    this.#options = options
    this.#strict = options.strict
    this.#lanes = Array.from({ length: queues }, (_, index) => {
      const name = queueName(index)
      return { name, queue: device.queue(name), requests: device.requestQueue(name) }
    })
  }

  /** Buffers that one request can have on every queue. */
  get maxChain(): number {
    return Math.min(...this.#lanes.map(({ queue }) => queue.maxChain))
  }

  get pending(): number {
    return this.#lanes.reduce((sum, { requests }) => sum + requests.pending, 0)
  }

  addStats(stats: Record<string, number>): void {
    stats.in_flight = this.pending
    stats.failed = this.#failed
    stats.missed_notifications = this.#missed
    stats.notified_again = this.#notifiedAgain
  }

  /**
   * Sends one request: header, data, status, each in buffers of their own, which is right for every device.
   * Lets go of the lease for the device when that has given the buffers back; the caller lets go for itself.
   * @param onReleased called when the device no longer owns the buffers
   * @see VIRTIO 1.3 § 5.2.6.4 "Legacy Interface: Framing Requirements"
   */
  async send(
    lease: Lease,
    request: ChannelRequest,
    signal: AbortSignal | undefined,
    onReleased?: () => void,
  ): Promise<void> {
    const { type, sector, readable = [], writable = [], answer = 0 } = request
    const { slot } = lease
    slot.prepare(type, sector)
    const lane = this.#leastBusy()
    const chain = { readable: [slot.header, ...readable], writable: [...writable, slot.status] }
    const released = (): void => {
      lease.letGo()
      onReleased?.()
    }
    const written = await lane.requests.request(chain, { onReleased: released, ...(signal && { signal }) })
    const failure = this.failureOf(lane, { type, sector, answer }, slot.takeStatus(), written)
    if (failure) throw failure
  }

  /**
   * Sends a request that is complete already.
   * @returns the queue it is on. @throws what the queue refuses it with
   */
  submit(request: SubmittedRequest): RequestLane {
    const lane = this.#leastBusy()
    lane.requests.submit(request)
    return lane
  }

  /** @param answer bytes in front of the status byte that must have been written */
  wentWell(status: number, answer: number, written: number): boolean {
    return status === BlockRequest.S_OK && (!this.#strict || written > answer)
  }

  /** What is wrong with an answer; undefined when nothing is. Counts what failed. */
  failureOf(
    lane: RequestLane,
    { type, sector, answer }: { readonly type: number; readonly sector: number; readonly answer: number },
    status: number,
    written: number,
  ): VirtioError | undefined {
    if (this.wentWell(status, answer, written)) return undefined
    this.#failed++
    const { device, zoned } = this.#options
    const what = `${requestName(type)} at ${sector * SECTOR}`
    const where = { device: device.location, queue: lane.queue.index, generation: device.generation }
    const detail = { type, sector, status, written }
    if (status === BlockRequest.S_OK) {
      return new VirtioError(
        'block.short-answer',
        `${device.location}: ${what} came back well, with ${written} bytes written instead of ${answer + 1}: what is missing cannot be told`,
        { ...where, detail },
      )
    }
    const { code, text } = statusMeaning(status, zoned)
    return new VirtioError(code, `${device.location}: ${what} ${text}`, { ...where, detail })
  }

  /** What notifications would have done, without them: for a watchdog. */
  look(): void {
    for (const { queue, requests } of this.#lanes) {
      if (requests.pending === 0 || queue.broken) continue
      if (requests.service() > 0) this.#missed++
      else {
        this.#notifiedAgain++
        queue.notifyAlways()
      }
    }
  }

  #leastBusy(): RequestLane {
    const { length } = this.#lanes
    if (length === 1) return this.#lanes[0]!
    const start = this.#next++ % length
    let best = this.#lanes[start]!
    for (let n = 1; n < length && best.requests.pending > 0; n++) {
      const other = this.#lanes[(start + n) % length]!
      if (other.requests.pending < best.requests.pending) best = other
    }
    return best
  }
}
