import type { VirtioError } from '@virtio-ts/spec'
import { callListener } from './call-listener.ts'
import { type RingOrigin, ringError } from './ring-error.ts'
import type { VirtqueueStats } from './virtqueue.ts'

/** The shadow of a head or buffer id: four words side by side, so that using a chain touches one cache line. */
export const Shadow: { readonly COOKIE: 0; readonly CAPACITY: 1; readonly COUNT: 2; readonly NEXT: 3 } = {
  COOKIE: 0,
  /** Bytes the device may write into the chain, as an unsigned number. */
  CAPACITY: 1,
  /** How many descriptors the chain takes; 0 if there is none. Negative while `popUsed` must not find it. */
  COUNT: 2,
  /** The next descriptor of a chain that takes several. */
  NEXT: 3,
}

/** Positions of the counters: doubles, since an integer field changes its representation beyond 2^31. */
export const Counter: {
  readonly ADDED: 0
  readonly USED: 1
  readonly SENT: 2
  readonly SUPPRESSED: 3
  readonly CLAMPED: 4
} = { ADDED: 0, USED: 1, SENT: 2, SUPPRESSED: 3, CLAMPED: 4 }

const { COOKIE, COUNT } = Shadow
const { ADDED, USED, SENT, SUPPRESSED, CLAMPED } = Counter

/** What a lane tells the books of its queue. */
export interface BookedLane {
  /** Chains added and not published. */
  readonly added: number
  close(): void
  /** Places that are out or added, in order. */
  held(): number[]
}

/**
 * What the driver knows of a virtqueue of either format, in memory that no device reaches. Plain fields: a queue reads them into
 * locals in its packet path.
 */
export class QueueBooks {
  readonly origin: RingOrigin
  readonly size: number = 0
  /** By head or id. */
  readonly shadow: Int32Array = new Int32Array(0)
  /**
   * A stack of heads or ids that are free, then, from `size` on, those added and not yet published, in order. Sixteen bits: what
   * is computed from them cannot overflow, and V8 knows it.
   */
  readonly ids: Uint16Array = new Uint16Array(0)
  readonly counters: Float64Array = new Float64Array(5)
  /** With IN_ORDER heads and ids go round as they come back, instead of from the stack: the next one. Otherwise -1. */
  next = -1
  /** How many are on the stack; in a split ring that is `freeCount`. */
  freeTop = 0
  /** Descriptors; 0 in a queue that takes no chains, so that adding one has to look at nothing else. */
  freeCount = 0
  unpublishedCount = 0
  /** Chains published and not yet used. */
  outstandingCount = 0
  wantsNotifications = true
  broken: VirtioError | undefined
  /** Broken, given back, or another thread's. */
  halted = false
  transferred = false
  /** Where the queue takes nothing but a lane's buffers. */
  lane: BookedLane | undefined
  readonly #inOrder: boolean
  #released = false
  #addedBefore = 0
  readonly #listeners: ((reason: VirtioError) => void)[] = []

  constructor(origin: RingOrigin, size: number, inOrder: boolean) {
    this.origin = origin
    this.size = size
    this.shadow = new Int32Array(4 * size)
    this.ids = new Uint16Array(2 * size)
    this.#inOrder = inOrder
    this.#initialize()
  }

  get inFlight(): number {
    return this.outstandingCount + this.unpublishedCount + (this.lane?.added ?? 0)
  }

  get stats(): VirtqueueStats {
    const counters = this.counters
    return {
      added: counters[ADDED]! + this.unpublishedCount + (this.lane?.added ?? 0),
      used: counters[USED]!,
      notificationsSent: counters[SENT]!,
      notificationsSuppressed: counters[SUPPRESSED]!,
      lengthsClamped: counters[CLAMPED]!,
      inFlight: this.inFlight,
    }
  }

  /** IN_ORDER: the next head or id. */
  takeNext(): number {
    const next = this.next
    this.next = next + 1 < this.size ? next + 1 : 0
    return next
  }

  /** What was published since the last call is with the device now. */
  published(count: number): void {
    this.unpublishedCount = 0
    this.outstandingCount += count
    this.counters[ADDED]! += count
  }

  /**
   * Hides the chains that are not published from `popUsed`, or shows them again: the device does not have them. A driver that
   * publishes before it polls never has any, so adding and publishing are spared of it.
   */
  flipUnpublished(): void {
    const { shadow, ids, size, unpublishedCount } = this
    for (let i = 0; i < unpublishedCount; i++) {
      const at = (ids[size + i]! << 2) + COUNT
      shadow[at] = -shadow[at]!
    }
  }

  fail(reason: VirtioError): void {
    if (this.broken !== undefined) return
    this.#halt()
    this.broken = reason
    // A copy: one that is added meanwhile is called by `onBroken` itself.
    const listeners = this.#listeners.slice()
    for (const listener of listeners) callListener(listener, reason)
  }

  onBroken(listener: (reason: VirtioError) => void): void {
    this.#listeners.push(listener)
    if (this.broken !== undefined) callListener(listener, this.broken)
  }

  /** @returns cookies of the chains that were outstanding */
  reset(): Int32Array {
    if (this.#released) throw ringError('ring.released', this.origin)
    const { shadow } = this
    const cookies: number[] = []
    for (let at = 0; at < shadow.length; at += 4) if (shadow[at + COUNT] !== 0) cookies.push(shadow[at + COOKIE]!)
    if (this.lane) cookies.push(...this.lane.held())
    this.counters[ADDED]! = this.stats.added
    this.#initialize()
    return Int32Array.from(cookies)
  }

  /** @returns false the second time */
  retire(): boolean {
    if (this.#released) return false
    this.#released = true
    this.#halt()
    this.broken ??= ringError('ring.released', this.origin)
    return true
  }

  /** @throws VirtioError `ring.in-use`, `ring.released`, or what the queue broke with */
  handOver(): void {
    if (this.broken !== undefined) throw this.broken
    if (this.transferred || this.#used) throw ringError('ring.in-use', this.origin)
    this.transferred = true
    this.#halt()
  }

  /**
   * From here on the queue takes the lane's buffers only.
   * @throws VirtioError `ring.in-use`
   */
  open(lane: BookedLane): void {
    if (this.lane !== undefined || this.#used) throw ringError('ring.in-use', this.origin)
    this.lane = lane
    this.freeCount = 0
    if (this.halted) lane.close()
  }

  get #used(): boolean {
    return this.inFlight !== 0 || this.counters[ADDED] !== this.#addedBefore
  }

  #initialize(): void {
    const { shadow, size, ids } = this
    shadow.fill(0)
    // The first one on top.
    for (let i = 0; i < size; i++) ids[i] = size - 1 - i
    this.next = this.#inOrder ? 0 : -1
    this.freeTop = size
    this.freeCount = size
    this.unpublishedCount = 0
    this.outstandingCount = 0
    this.wantsNotifications = true
    this.broken = undefined
    this.halted = false
    this.transferred = false
    this.lane?.close()
    this.lane = undefined
    this.#addedBefore = this.counters[ADDED]!
  }

  #halt(): void {
    this.halted = true
    this.freeCount = 0
    this.lane?.close()
  }
}
