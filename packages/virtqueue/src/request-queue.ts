import type { DeviceAddress, DmaRegion } from '@virtio-ts/memory'
import { VirtioError } from '@virtio-ts/spec'
import { callListener } from './call-listener.ts'
import { ChainBuilder } from './chain-builder.ts'
import { usedBatch, type Virtqueue } from './virtqueue.ts'

/** A request's buffers: device-readable first, then device-writable. */
export interface RequestChain {
  readonly readable?: readonly RequestBuffer[]
  readonly writable?: readonly RequestBuffer[]
}

/** A whole region, or `length` bytes of it from `offset`. */
export type RequestBuffer = DmaRegion | { readonly region: DmaRegion; readonly offset: number; readonly length: number }

export interface RequestOptions {
  /**
   * Rejects the promise with the signal's reason. A request that is with the device stays there: `onReleased` tells when
   * its buffers are free.
   */
  readonly signal?: AbortSignal
  /**
   * Called exactly once, when the device no longer owns the buffers: it has used them, they never got to it, or its reset was
   * confirmed (`RequestQueue.reset`). Never within `request`; for a promise that resolves, before its reactions run.
   */
  readonly onReleased?: () => void
}

export interface RequestQueueOptions {
  /** Requests that wait for room in the ring, at most. @defaultValue 1024 */
  readonly backlog?: number
  /** Called when `pending` rises from 0: an owner that polls calls `service` until it is 0 again, or the queue breaks. */
  readonly onPending?: () => void
}

/**
 * A request whose end is told by calls instead of a promise, for drivers that make many and use their objects again. It is the queue's from
 * `submit` until `onReleased`; none of its functions may throw.
 */
export interface SubmittedRequest {
  readonly chain: ChainBuilder
  /** The device has used the buffers. @param written bytes, never more than the writable buffers hold */
  resolve(written: number): void
  /** The queue broke, or was reset. May be called again with another reason, which then changes nothing. */
  reject(reason: unknown): void
  /** As in RequestOptions: called exactly once, never within `submit`. */
  onReleased(): void
}

interface Request {
  resolve(written: number): void
  reject(reason: unknown): void
  readonly signal?: AbortSignal | undefined
  readonly onAbort?: () => void
  onReleased?(): void
  readonly chain: ChainBuilder
}

const BATCH = 64
const settled: Promise<void> = Promise.resolve()

/**
 * The request view of a virtqueue: one promise per chain, settled with the bytes the device wrote.
 *
 * The owner calls `service` at used buffer notifications, or as it polls. Requests of one turn of the event loop are published
 * together, at its end. It must be the only user of its virtqueue.
 */
export class RequestQueue {
  #queue: Virtqueue
  readonly #backlogLimit: number
  readonly #onPending: (() => void) | undefined
  readonly #batch = usedBatch(BATCH)
  /** By cookie: requests whose buffers the device owns. */
  #inRing: (Request | undefined)[]
  #freeCookies: number[]
  /** In the order they came. */
  readonly #backlog = new Set<Request>()
  #publishScheduled = false
  #servicing = false
  #resumeScheduled = false
  #generation = 0

  constructor(queue: Virtqueue, options: RequestQueueOptions = {}) {
    this.#queue = queue
    this.#backlogLimit = options.backlog ?? 1024
    this.#onPending = options.onPending
    this.#inRing = Array.from({ length: queue.size })
    this.#freeCookies = [...this.#inRing.keys()]
    this.#follow(queue)
  }

  /** Requests whose buffers the device owns, or that wait for room: also those that were aborted or have failed meanwhile. */
  get pending(): number {
    return this.#inRing.length - this.#freeCookies.length + this.#backlog.size
  }

  /**
   * Makes one chain available. Its buffers are the device's from now until `onReleased`.
   *
   * Rejects with `signal.reason`; with a VirtioError: `request.backlog-full`, or what the queue broke with; with a RangeError
   * for buffers outside their regions, empty ones, or more than the ring can hold.
   * @returns the bytes the device wrote, never more than the writable buffers hold
   */
  request(chain: RequestChain, options: RequestOptions = {}): Promise<number> {
    return new Promise((resolve, reject) => {
      const { signal, onReleased } = options
      try {
        signal?.throwIfAborted()
        const built = buildChain(chain, this.#queue.maxChain)
        if (this.#queue.broken !== undefined) throw this.#queue.broken
        const request: Request = {
          resolve,
          reject,
          signal,
          onAbort: () => this.#abort(request),
          ...(onReleased && { onReleased }),
          chain: built,
        }
        this.#begin(request)
        signal?.addEventListener('abort', request.onAbort as () => void)
      } catch (error) {
        // Not before the caller has the promise; before its reactions all the same.
        if (onReleased) queueMicrotask(onReleased)
        reject(error)
      }
    })
  }

  /**
   * Like `request`, without a promise of its own.
   * @throws what `request` rejects with; the request is the caller's then, and none of its functions is called
   */
  submit(request: SubmittedRequest): void {
    const { count } = request.chain
    const { maxChain } = this.#queue
    if (count === 0 || count > maxChain) throw tooMany(count, maxChain)
    if (this.#queue.broken !== undefined) throw this.#queue.broken
    this.#begin(request)
  }

  /**
   * Takes used buffers and settles their promises. Never throws. At most one ring's worth a call; where the device is
   * faster than that, it goes on in the next turn of the event loop.
   * @returns how many buffers were used
   */
  service(): number {
    if (this.#servicing) return 0
    this.#servicing = true
    let total = 0
    let count: number
    do {
      this.#publish()
      count = this.#queue.popUsed(this.#batch)
      total += count
      // A reset from within an `onReleased` has ended the rest of the batch already, and its cookies may be in use again.
      const generation = this.#generation
      for (let i = 0; i < count && generation === this.#generation; i++) {
        this.#complete(this.#batch.cookies[i]!, this.#batch.written[i]!)
      }
      this.#admit()
    } while (count > 0 && total < this.#queue.size)
    this.#servicing = false
    if (this.#queue.broken !== undefined) this.#rejectAll(this.#queue.broken)
    this.#publish()
    if (count > 0 && this.#queue.hasUsed()) this.#resumeLater()
    return total
  }

  /**
   * Ends every request: promises still open reject with `reason`, and every buffer is the driver's again. Only after the
   * device has confirmed its reset, or the reset of this queue, and after the virtqueue itself was reset or released.
   * What the device had used by then and nobody serviced counts as not done.
   * @param queue takes the place of the virtqueue, which has another size from now on
   */
  reset(reason: VirtioError, queue: Virtqueue = this.#queue): void {
    this.#generation++
    const ended = [...this.#inRing.filter((request) => request !== undefined), ...this.#backlog]
    if (queue !== this.#queue) this.#follow(queue)
    this.#inRing = Array.from({ length: queue.size })
    this.#freeCookies = [...this.#inRing.keys()]
    this.#backlog.clear()
    for (const request of ended) rejectRequest(request, reason)
    for (const request of ended) release(request)
  }

  #follow(queue: Virtqueue): void {
    this.#queue = queue
    queue.onBroken((reason) => {
      // Found inside `popUsed`: what it still returned is settled first.
      if (!this.#servicing && queue === this.#queue) this.#rejectAll(reason)
    })
  }

  #begin(request: Request): void {
    const wasIdle = this.pending === 0
    this.#enqueue(request)
    if (wasIdle && this.#onPending) callListener(this.#onPending)
  }

  #enqueue(request: Request): void {
    if (this.#backlog.size === 0 && this.#add(request)) return
    if (this.#backlog.size >= this.#backlogLimit) {
      throw new VirtioError(
        'request.backlog-full',
        `Queue ${this.#queue.index}: the ring is full and ${this.#backlog.size} requests wait already. Wait for some to end first.`,
        { queue: this.#queue.index, detail: { backlog: this.#backlog.size } },
      )
    }
    this.#backlog.add(request)
  }

  #add(request: Request): boolean {
    const cookie = this.#freeCookies.at(-1)
    if (cookie === undefined || !this.#queue.addChain(request.chain, cookie)) return false
    this.#freeCookies.pop()
    this.#inRing[cookie] = request
    if (!this.#publishScheduled) {
      this.#publishScheduled = true
      // The reactions of promises settled together then become one batch, and one notification.
      void settled.then(this.#publishNow)
    }
    return true
  }

  readonly #publishNow = (): void => this.#publish()

  #publish(): void {
    if (!this.#publishScheduled) return
    this.#publishScheduled = false
    this.#queue.publish()
  }

  #admit(): void {
    for (const request of this.#backlog) {
      if (!this.#add(request)) return
      this.#backlog.delete(request)
    }
  }

  #complete(cookie: number, written: number): void {
    const request = this.#inRing[cookie]
    if (request === undefined) return
    this.#inRing[cookie] = undefined
    this.#freeCookies.push(cookie)
    unlisten(request)
    request.resolve(written)
    release(request)
  }

  #abort(request: Request): void {
    rejectRequest(request, request.signal?.reason)
    if (this.#backlog.delete(request)) release(request)
  }

  /** Rejects what is open. What is in the ring stays the device's until its reset is confirmed. */
  #rejectAll(reason: VirtioError): void {
    for (const request of this.#inRing) {
      if (request !== undefined) rejectRequest(request, reason)
    }
    const waiting = [...this.#backlog]
    this.#backlog.clear()
    for (const request of waiting) rejectRequest(request, reason)
    for (const request of waiting) release(request)
  }

  #resumeLater(): void {
    if (this.#resumeScheduled) return
    this.#resumeScheduled = true
    setImmediate(() => {
      this.#resumeScheduled = false
      this.service()
    })
  }
}

/** For a request that was aborted or has failed already this changes nothing: a promise settles once. */
function rejectRequest(request: Request, reason: unknown): void {
  unlisten(request)
  request.reject(reason)
}

function unlisten(request: Request): void {
  if (request.signal && request.onAbort) request.signal.removeEventListener('abort', request.onAbort)
}

/** What a listener throws comes out on its own, as with `callListener`. */
function release(request: Request): void {
  try {
    request.onReleased?.()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}

function tooMany(count: number, maxChain: number): RangeError {
  return new RangeError(`a request of ${count} buffers: 1 to ${maxChain} fit the ring`)
}

function buildChain({ readable = [], writable = [] }: RequestChain, maxChain: number): ChainBuilder {
  const count = readable.length + writable.length
  if (count === 0 || count > maxChain) throw tooMany(count, maxChain)
  const chain = new ChainBuilder(count)
  for (const buffer of readable) chain.addReadable(addressIn(buffer), buffer.length)
  for (const buffer of writable) chain.addWritable(addressIn(buffer), buffer.length)
  return chain
}

/** @throws RangeError when the buffer reaches beyond its region: the device would touch memory it was not given */
function addressIn(buffer: RequestBuffer): DeviceAddress {
  if (!('region' in buffer)) return buffer.deviceAddress
  const { region, offset, length } = buffer
  if (!(Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && offset + length <= region.length)) {
    throw new RangeError(`bytes ${offset} to ${offset + length} of a region of ${region.length} bytes`)
  }
  return (region.deviceAddress + offset) as DeviceAddress
}
