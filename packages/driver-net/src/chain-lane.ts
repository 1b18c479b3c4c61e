import {
  ChainBuilder,
  type LaneRow,
  type ReadableLane,
  type UsedBatch,
  usedBatch,
  type Virtqueue,
  type WritableLane,
} from '@virtio-ts/core'
import type { DeviceAddress } from '@virtio-ts/memory'

const FREE = 0
const RESERVED = 1
const OUT = 2

/**
 * A lane over a queue's ordinary calls, for buffers whose first bytes, the header, go into a descriptor of their own.
 * @see VIRTIO 1.3 § 5.1.6.6 "Legacy Interface: Framing Requirements"
 */
export class ChainLane implements ReadableLane, WritableLane {
  readonly count: number
  readonly #queue: Virtqueue
  readonly #row: LaneRow
  readonly #headerLength: number
  readonly #writable: boolean
  readonly #chain = new ChainBuilder(2)
  readonly #states: Uint8Array
  /** Free places, first in first out. */
  readonly #free: number[]
  readonly #batch: UsedBatch
  #inFlight = 0

  /** @param headerLength bytes of each buffer that have a descriptor of their own; 0 for none */
  constructor(queue: Virtqueue, row: LaneRow, headerLength: number, writable: boolean) {
    this.count = row.count
    this.#queue = queue
    this.#row = row
    this.#headerLength = headerLength
    this.#writable = writable
    this.#states = new Uint8Array(row.count)
    this.#free = Array.from(this.#states.keys())
    this.#batch = usedBatch(64)
  }

  get free(): number {
    return this.#free.length
  }

  get inFlight(): number {
    return this.#inFlight
  }

  reserve(): number {
    const place = this.#free.shift()
    if (place === undefined) return -1
    this.#states[place] = RESERVED
    return place
  }

  isReserved(place: number): boolean {
    return this.#states[place] === RESERVED
  }

  cancel(place: number): void {
    this.#check(place)
    this.#states[place] = FREE
    this.#free.unshift(place)
  }

  add(place: number, length: number): boolean {
    this.#check(place)
    return this.#add(place, this.#addressOf(place), length)
  }

  addElsewhere(place: number, address: DeviceAddress, length: number): boolean {
    this.#check(place)
    return this.#add(place, address, length)
  }

  renew(count: number): void {
    for (const place of this.#free.splice(0, count)) this.#add(place, this.#addressOf(place), this.#row.length)
  }

  publish(): void {
    this.#queue.publish()
  }

  pop(batch: UsedBatch): number {
    const count = this.#queue.popUsed(batch)
    for (const place of batch.cookies.subarray(0, count)) {
      this.#states[place] = FREE
      this.#free.push(place)
    }
    this.#inFlight -= count
    return count
  }

  reclaim(): number {
    let total = 0
    for (let count = this.pop(this.#batch); count > 0; count = this.pop(this.#batch)) total += count
    return total
  }

  #add(place: number, address: number, length: number): boolean {
    const headerLength = this.#headerLength
    const chain = this.#chain.clear()
    const pieces = headerLength > 0 ? [headerLength, length - headerLength] : [length]
    let at = address
    for (const piece of pieces) {
      if (this.#writable) chain.addWritable(at as DeviceAddress, piece)
      else chain.addReadable(at as DeviceAddress, piece)
      at += piece
    }
    if (!this.#queue.addChain(chain, place)) return false
    this.#states[place] = OUT
    this.#inFlight++
    return true
  }

  #addressOf(place: number): number {
    return this.#row.address + place * this.#row.stride
  }

  #check(place: number): void {
    if (this.#states[place] !== RESERVED) throw new RangeError(`place ${place} is not reserved`)
  }
}
