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
 * A lane over a queue's ordinary calls, for buffers whose first bytes, the header, go into a descriptor of their own. Nothing is allocated
 * per packet.
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
  /** Free places around a circle, first in first out. */
  readonly #queued: Int32Array
  #first = 0
  #free: number
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
    this.#queued = Int32Array.from(this.#states.keys())
    this.#free = row.count
    this.#batch = usedBatch(64)
  }

  get free(): number {
    return this.#free
  }

  get inFlight(): number {
    return this.#inFlight
  }

  reserve(): number {
    if (this.#free === 0) return -1
    const place = this.#takeFirst()
    this.#states[place] = RESERVED
    return place
  }

  isReserved(place: number): boolean {
    return this.#states[place] === RESERVED
  }

  cancel(place: number): void {
    this.#check(place)
    this.#states[place] = FREE
    this.#first = (this.#first + this.count - 1) % this.count
    this.#queued[this.#first] = place
    this.#free++
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
    if (count > this.#free) throw new RangeError(`${count} of ${this.#free} buffers`)
    for (let i = 0; i < count; i++) {
      const place = this.#takeFirst()
      this.#add(place, this.#addressOf(place), this.#row.length)
    }
  }

  publish(): void {
    this.#queue.publish()
  }

  pop(batch: UsedBatch): number {
    const count = this.#queue.popUsed(batch)
    for (let i = 0; i < count; i++) {
      const place = batch.cookies[i]!
      this.#states[place] = FREE
      this.#queued[(this.#first + this.#free++) % this.count] = place
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
    this.#chain.clear()
    if (headerLength > 0) this.#append(address, headerLength)
    this.#append(address + headerLength, length - headerLength)
    if (!this.#queue.addChain(this.#chain, place)) return false
    this.#states[place] = OUT
    this.#inFlight++
    return true
  }

  #append(address: number, length: number): void {
    if (this.#writable) this.#chain.addWritable(address as DeviceAddress, length)
    else this.#chain.addReadable(address as DeviceAddress, length)
  }

  #takeFirst(): number {
    const place = this.#queued[this.#first]!
    this.#first = (this.#first + 1) % this.count
    this.#free--
    return place
  }

  #addressOf(place: number): number {
    return this.#row.address + place * this.#row.stride
  }

  #check(place: number): void {
    if (this.#states[place] !== RESERVED) throw new RangeError(`place ${place} is not reserved`)
  }
}
