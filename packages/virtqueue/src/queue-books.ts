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
  /** The next descriptor of the chain, or the next one that is free. */
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

const { COOKIE, COUNT, NEXT } = Shadow
const { ADDED, USED, SENT, SUPPRESSED, CLAMPED } = Counter

/**
 * What the driver knows of a virtqueue of either format, in memory that no device reaches. Plain fields: a queue reads them into
 * locals in its packet path.
 */
export class QueueBooks {
  readonly origin: RingOrigin
  readonly size: number
  readonly shadow: Int32Array
  /** Heads or ids added and not yet published, in order. */
  readonly unpublished: Uint16Array
  readonly counters: Float64Array = new Float64Array(5)
  freeHead = 0
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
  #released = false
  #addedBefore = 0
  readonly #listeners: ((reason: VirtioError) => void)[] = []

  constructor(origin: RingOrigin, size: number) {
    this.origin = origin
    this.size = size
    this.shadow = new Int32Array(size << 2)
    this.unpublished = new Uint16Array(size)
    this.#initialize()
  }

  get inFlight(): number {
    return this.outstandingCount + this.unpublishedCount
  }

  get stats(): VirtqueueStats {
    const counters = this.counters
    return {
      added: counters[ADDED]! + this.unpublishedCount,
      used: counters[USED]!,
      notificationsSent: counters[SENT]!,
      notificationsSuppressed: counters[SUPPRESSED]!,
      lengthsClamped: counters[CLAMPED]!,
      inFlight: this.inFlight,
    }
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
    const { shadow, unpublished, unpublishedCount } = this
    for (let i = 0; i < unpublishedCount; i++) {
      const at = (unpublished[i]! << 2) + COUNT
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
    this.counters[ADDED]! += this.unpublishedCount
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
    if (this.transferred || this.inFlight !== 0 || this.counters[ADDED] !== this.#addedBefore)
      throw ringError('ring.in-use', this.origin)
    this.transferred = true
    this.#halt()
  }

  #initialize(): void {
    const { shadow, size } = this
    shadow.fill(0)
    // A circle: where chains come back in order, the next free descriptor is always the next one of the table.
    for (let i = 0; i < size; i++) shadow[(i << 2) + NEXT] = i + 1 < size ? i + 1 : 0
    this.freeHead = 0
    this.freeCount = size
    this.unpublishedCount = 0
    this.outstandingCount = 0
    this.wantsNotifications = true
    this.broken = undefined
    this.halted = false
    this.transferred = false
    this.#addedBefore = this.counters[ADDED]!
  }

  #halt(): void {
    this.halted = true
    this.freeCount = 0
  }
}
