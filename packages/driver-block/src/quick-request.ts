import { ChainBuilder, type RequestBuffer, type SubmittedRequest } from '@virtio-ts/core'
import type { DeviceAddress } from '@virtio-ts/memory'
import { BlockRequest } from '@virtio-ts/spec'
import type { Slice } from './control-slot.ts'
import type { RequestLane } from './request-channel.ts'
import type { Lease } from './staging-pool.ts'

/** What is told of requests when they end. */
export interface QuickOwner {
  /** @returns what is wrong with an answer */
  failureOf(request: QuickRequest, status: number, written: number): unknown
  done(request: QuickRequest): void
  released(request: QuickRequest): void
}

const FRAME = 3

type Settle = (result: Uint8Array | undefined) => void
type Fail = (reason: unknown) => void

/**
 * A request of one segment: header, data, status. Made once and used again: of the promise's two functions and a lease is all that a request
 * costs in objects.
 */
export class QuickRequest implements SubmittedRequest {
  readonly chain: ChainBuilder = new ChainBuilder(FRAME)
  lane: RequestLane | undefined
  type = 0
  /** In 512-byte units. */
  sector = 0
  length = 0
  readonly #owner: QuickOwner
  /** Until the device gave it back. */
  #lease: Lease | undefined
  #segment: Slice | undefined
  /** Where what was read is copied to. */
  #target: Uint8Array | undefined
  #onReleased: (() => void) | undefined
  #settle: Settle | undefined
  #fail: Fail | undefined

  constructor(owner: QuickOwner) {
    this.#owner = owner
  }

  /** Takes on what is to be done, and writes the header. @param sector in 512-byte units @returns a promise of `target` */
  begin(
    type: number,
    sector: number,
    length: number,
    lease: Lease,
    segment: Slice,
    target: Uint8Array | undefined,
    onReleased: (() => void) | undefined,
  ): Promise<Uint8Array | undefined> {
    this.type = type
    this.sector = sector
    this.length = length
    this.#lease = lease
    this.#segment = segment
    this.#target = target
    this.#onReleased = onReleased
    const { chain } = this
    const { slot } = lease
    slot.prepare(type, sector)
    chain.clear().addReadable(addressOf(slot.header), slot.header.length)
    if (type === BlockRequest.T_IN) chain.addWritable(addressOf(segment), length)
    else chain.addReadable(addressOf(segment), length)
    chain.addWritable(addressOf(slot.status), slot.status.length)
    return new Promise(this.#take)
  }

  readonly #take = (resolve: Settle, reject: Fail): void => {
    this.#settle = resolve
    this.#fail = reject
  }

  resolve(written: number): void {
    const lease = this.#lease
    const settle = this.#settle
    // Rejected before, of a queue that broke: nobody's memory is written to after that.
    if (lease === undefined || settle === undefined) return
    const failure = this.#owner.failureOf(this, lease.slot.takeStatus(), written)
    if (failure !== undefined) return this.reject(failure)
    const target = this.#target
    if (target !== undefined && !this.#copy(target)) return
    this.#owner.done(this)
    this.#forget()
    settle(target)
  }

  reject(reason: unknown): void {
    this.#fail?.(reason)
    this.#forget()
  }

  onReleased(): void {
    const lease = this.#lease
    if (lease === undefined) return
    const onReleased = this.#onReleased
    this.#letGo(lease)
    this.#owner.released(this)
    if (onReleased !== undefined) onReleased()
  }

  /** What was begun goes nowhere: the lease is let go. */
  drop(): void {
    this.#forget()
    if (this.#lease !== undefined) this.#letGo(this.#lease)
  }

  /** For the device, and for whoever made the request. Nothing of the caller's is kept. */
  #letGo(lease: Lease): void {
    this.#lease = undefined
    this.#segment = undefined
    this.#target = undefined
    this.#onReleased = undefined
    lease.letGo()
    lease.letGo()
  }

  #copy(target: Uint8Array): boolean {
    const segment = this.#segment!
    try {
      target.set(segment.region.bytes.subarray(segment.offset, segment.offset + this.length))
      return true
    } catch (error) {
      // The caller's array was taken away meanwhile.
      this.reject(error)
      return false
    }
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
