import { ChainBuilder, type RequestBuffer, type SubmittedRequest } from '@virtio-ts/core'
import type { DeviceAddress } from '@virtio-ts/memory'
import { BlockRequest } from '@virtio-ts/spec'
import type { Slice } from './control-slot.ts'
import type { RequestLane } from './request-channel.ts'
import type { Lease } from './staging-pool.ts'

/** What a request of one segment does. */
export interface QuickWork {
  readonly type: number
  /** In 512-byte units. */
  readonly sector: number
  readonly length: number
  readonly lease: Lease
  readonly segment: Slice
  /** Where what was read is copied to. */
  readonly target: Uint8Array | undefined
  readonly onReleased: (() => void) | undefined
}

/** What is told of requests when they end. */
export interface QuickOwner {
  /** @returns what is wrong with an answer */
  failureOf(request: QuickRequest, written: number): unknown
  done(request: QuickRequest): void
  released(request: QuickRequest): void
}

const FRAME = 3

/**
 * A request of one segment: header, data, status. Made once and used again: of the promise's two functions and a lease is all that a request
 * costs in objects.
 */
export class QuickRequest implements SubmittedRequest {
  readonly chain: ChainBuilder = new ChainBuilder(FRAME)
  lane: RequestLane | undefined
  readonly #owner: QuickOwner
  #work: QuickWork | undefined
  #settle: ((result: Uint8Array | undefined) => void) | undefined
  #fail: ((reason: unknown) => void) | undefined

  constructor(owner: QuickOwner) {
    this.#owner = owner
  }

  get work(): QuickWork | undefined {
    return this.#work
  }

  /** Takes on what is to be done, and writes the header. @returns a promise of `target` */
  begin(work: QuickWork): Promise<Uint8Array | undefined> {
    this.#work = work
    const { chain } = this
    const { slot } = work.lease
    slot.prepare(work.type, work.sector)
    chain.clear().addReadable(addressOf(slot.header), slot.header.length)
    if (work.type === BlockRequest.T_IN) chain.addWritable(addressOf(work.segment), work.length)
    else chain.addReadable(addressOf(work.segment), work.length)
    chain.addWritable(addressOf(slot.status), slot.status.length)
    return new Promise(this.#take)
  }

  readonly #take = (resolve: (result: Uint8Array | undefined) => void, reject: (reason: unknown) => void): void => {
    this.#settle = resolve
    this.#fail = reject
  }

  readonly resolve = (written: number): void => {
    const work = this.#work
    // Rejected before, of a queue that broke: nobody's memory is written to after that.
    if (!work || !this.#fail) return
    try {
      const failure = this.#owner.failureOf(this, written)
      if (failure !== undefined) return this.reject(failure)
      const { target, segment, length } = work
      if (target) target.set(segment.region.bytes.subarray(segment.offset, segment.offset + length))
      this.#owner.done(this)
      this.#settle?.(target)
      this.#forget()
    } catch (error) {
      // The caller's array was taken away meanwhile.
      this.reject(error)
    }
  }

  readonly reject = (reason: unknown): void => {
    this.#fail?.(reason)
    this.#forget()
  }

  readonly onReleased = (): void => {
    const work = this.#work
    this.#work = undefined
    if (!work) return
    // For the device, and for whoever made the request.
    work.lease.letGo()
    work.lease.letGo()
    this.#owner.released(this)
    work.onReleased?.()
  }

  /** What was begun goes nowhere: the lease is let go. */
  drop(): void {
    this.#forget()
    const work = this.#work
    this.#work = undefined
    work?.lease.letGo()
    work?.lease.letGo()
  }

  #forget(): void {
    this.#settle = undefined
    this.#fail = undefined
  }
}

function addressOf({ region, offset }: Slice): DeviceAddress {
  return (region.deviceAddress + offset) as DeviceAddress
}

/** A buffer as a stretch of its region; undefined for one that reaches beyond it. */
export function stretchOf(buffer: RequestBuffer): Slice | undefined {
  if (!('region' in buffer)) return { region: buffer, offset: 0, length: buffer.length }
  const { region, offset, length } = buffer
  const inside = Number.isInteger(offset) && Number.isInteger(length) && offset >= 0 && offset + length <= region.length
  return inside ? buffer : undefined
}
