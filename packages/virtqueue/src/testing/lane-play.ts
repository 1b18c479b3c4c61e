import { deepEqual, equal, ok, throws } from 'node:assert/strict'
import fc from 'fast-check'
import type {
  LaneRow,
  PackedVirtqueueOptions,
  ReadableLane,
  SplitVirtqueueOptions,
  UsedBatch,
  WritableLane,
} from '../index.ts'
import { usedBatch } from '../virtqueue.ts'
import { packedBench } from './packed-bench.ts'
import { at, ringBench } from './ring-bench.ts'

export interface LaneConfig {
  readonly format: 'split' | 'packed'
  readonly inOrder: boolean
  readonly writable: boolean
  readonly size: number
  readonly count: number
  readonly eventIdx: boolean
  readonly strict: boolean
  readonly startIndex: number
  readonly address: number
}

export const laneConfig: fc.Arbitrary<LaneConfig> = fc
  .record({
    format: fc.constantFrom('split' as const, 'packed' as const),
    inOrder: fc.boolean(),
    writable: fc.boolean(),
    size: fc.constantFrom(1, 2, 4, 8),
    less: fc.nat(7),
    eventIdx: fc.boolean(),
    strict: fc.boolean(),
    startIndex: fc.constantFrom(0, 5, 0xfff8),
    // The last row goes across a multiple of 4 GiB.
    address: fc.constantFrom(0, 1 << 20, 0x7ffff000, 5 * 2 ** 32 - 1000),
  })
  .map(({ less, ...config }) => ({ ...config, count: Math.max(1, config.size - less) }))

export type LaneStep =
  | { readonly do: 'reserve' | 'publish' | 'reclaim' }
  | { readonly do: 'cancel' | 'renew'; readonly pick: number }
  | { readonly do: 'add'; readonly pick: number; readonly length: number; readonly elsewhere: boolean }
  | { readonly do: 'use'; readonly pick: number; readonly chains: number; readonly length: number }
  | { readonly do: 'pop'; readonly batch: number }

/** Several at a time, mostly in turn: as drivers and devices do, or the usual case is never reached. */
const pick = fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(7) })

export const laneSteps: fc.Arbitrary<LaneStep[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: fc.constant('reserve' as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('publish' as const, 'reclaim' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('cancel' as const), pick: fc.nat(7) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('renew' as const), pick: fc.nat(8) }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('add' as const),
        pick,
        length: fc.integer({ min: 1, max: 100 }),
        elsewhere: fc.integer({ max: 7, min: 0 }).map((n) => n === 0),
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('use' as const),
        pick,
        chains: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
        length: fc.nat(100),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('pop' as const), batch: fc.integer({ min: 1, max: 9 }) }) },
  ),
  { minLength: 60, maxLength: 400, size: 'max' },
)

interface Out {
  readonly id: number
  readonly place: number
}

const LENGTH = 100
const STRIDE = 128
const ELSEWHERE = 3 * 2 ** 32 + 4096

/** A lane, the naive device of its format, and what each must make of the other. */
export class LanePlay {
  readonly config: LaneConfig
  readonly bench: ReturnType<typeof makeBench>
  readonly lane: ReadableLane & WritableLane
  readonly row: LaneRow
  readonly free: Set<number>
  reserved: number[] = []
  added: { place: number; address: number; length: number }[] = []
  /** With the device, in the order they were published. */
  out: Out[] = []
  /** Used, and not given back yet. */
  used: { place: number; written: number }[] = []
  /** A writable lane's places in the order they came back. */
  idle: number[]

  constructor(config: LaneConfig, areas: LaneAreas = {}) {
    this.config = config
    this.bench = makeBench(config, areas)
    const { address, count, writable } = config
    this.row = { address: at(address), stride: STRIDE, length: LENGTH, count }
    const { queue } = this.bench
    this.lane = (writable ? queue.openWritableLane(this.row) : queue.openReadableLane(this.row)) as ReadableLane &
      WritableLane
    const places = Array.from({ length: count }, (_, i) => i)
    this.free = new Set(writable ? [] : places)
    this.idle = writable ? places : []
  }

  run(step: LaneStep): void {
    const { lane } = this
    if (step.do === 'publish') this.publish()
    else if (step.do === 'use') this.use(step.pick, step.chains, step.length)
    else if (step.do === 'pop') this.pop(usedBatch(step.batch))
    else if (step.do === 'renew') this.#renew(step.pick)
    else if (step.do === 'reclaim') {
      if (this.config.writable) return
      const expected = this.used.splice(0)
      equal(lane.reclaim(), expected.length)
      for (const { place } of expected) this.free.add(place)
    } else if (step.do === 'add') this.#add(step)
    else if (step.do === 'cancel') this.#cancel(step.pick)
    else this.#reserve()
    equal(this.lane.inFlight, this.added.length + this.out.length + this.used.length)
    equal(this.bench.queue.inFlight, this.lane.inFlight)
    equal(lane.free, this.free.size)
  }

  publish(): void {
    this.lane.publish()
    const taken = this.bench.device.take()
    const { writable } = this.config
    deepEqual(
      taken.map(({ buffers }) => buffers),
      this.added.map(({ address, length }) => [{ address, length, writable }]),
    )
    for (const [i, { place }] of this.added.entries()) this.out.push({ id: taken[i]!.id, place })
    this.added = []
  }

  use(index: number, more: number, length: number): void {
    const { inOrder, writable } = this.config
    if (this.out.length === 0) return
    const capacity = writable ? LENGTH : 0
    const from = inOrder ? 0 : index % this.out.length
    const batch = this.out.splice(from, inOrder ? Math.min(1 + more, this.out.length) : 1)
    const last = batch.at(-1)!
    for (const { place } of batch)
      this.used.push({ place, written: place === last.place && writable ? length : capacity })
    this.bench.put(last.id, writable ? length : 0, batch.length)
    for (const { id } of batch) this.bench.device.held.delete(id)
  }

  pop(batch: UsedBatch): void {
    const expected = this.used.splice(0, batch.cookies.length)
    const count = this.lane.pop(batch)
    deepEqual(
      Array.from({ length: count }, (_, i) => ({ place: batch.cookies[i]!, written: batch.written[i]! })),
      expected,
    )
    for (const { place } of expected) {
      if (this.config.writable) this.idle.push(place)
      else this.free.add(place)
    }
  }

  addressOf(place: number): number {
    return this.row.address + place * STRIDE
  }

  #renew(wanted: number): void {
    if (!this.config.writable) {
      throws(() => this.lane.renew(1), RangeError)
      return
    }
    throws(() => this.lane.renew(this.idle.length + 1), RangeError)
    const places = this.idle.splice(0, wanted)
    this.lane.renew(places.length)
    for (const place of places) this.added.push({ place, address: this.addressOf(place), length: LENGTH })
  }

  #reserve(): void {
    const place = this.lane.reserve()
    if (this.free.size === 0) {
      equal(place, -1)
      return
    }
    ok(this.free.delete(place), `place ${place} is not free`)
    this.reserved.push(place)
  }

  #cancel(index: number): void {
    if (this.reserved.length === 0) return
    const [place] = this.reserved.splice(index % this.reserved.length, 1)
    this.lane.cancel(place!)
    this.free.add(place!)
    for (const wrong of [place!, -1, this.config.count, 0.5]) {
      equal(this.lane.isReserved(wrong), false)
      throws(() => this.lane.cancel(wrong), RangeError)
      throws(() => this.lane.add(wrong, 1), RangeError)
    }
  }

  #add({ pick: index, length, elsewhere }: { pick: number; length: number; elsewhere: boolean }): void {
    if (this.reserved.length === 0) return
    const [place] = this.reserved.splice(index % this.reserved.length, 1)
    for (const wrong of [0, -1, 1.5, 2 ** 32, LENGTH + 1]) throws(() => this.lane.add(place!, wrong), RangeError)
    const address = elsewhere ? ELSEWHERE + place! : this.addressOf(place!)
    ok(elsewhere ? this.lane.addElsewhere(place!, at(address), length) : this.lane.add(place!, length))
    throws(() => this.lane.add(place!, length), RangeError)
    this.added.push({ place: place!, address, length })
  }
}

/** Stand in for what the driver reads of the device's memory. */
export interface LaneAreas {
  readonly split?: SplitVirtqueueOptions['mapDeviceArea']
  readonly packed?: PackedVirtqueueOptions['mapDeviceArea']
}

function makeBench({ format, size, eventIdx, inOrder, strict, startIndex }: LaneConfig, { split, packed }: LaneAreas) {
  const options = { size, eventIdx, inOrder, trust: strict ? ('strict' as const) : ('tolerant' as const) }
  if (format === 'packed') {
    const { queue, device, broken } = packedBench({ ...options, ...(packed && { mapDeviceArea: packed }) })
    const put = (id: number, length: number, chains: number): void => {
      device.writeUsed(device.used, id, length, (device.used.wrap ? 0x8080 : 0) | 2)
      device.used.skip(chains)
    }
    return { queue, device, broken, put }
  }
  const { queue, device, broken } = ringBench({ ...options, startIndex, ...(split && { mapDeviceArea: split }) })
  const put = (id: number, length: number, chains: number): void => {
    device.writeElement(device.usedIndex, id, length)
    device.moveUsedIndex((device.usedIndex + chains) & 0xffff)
  }
  return { queue, device, broken, put }
}
