import { deepEqual, equal } from 'node:assert/strict'
import fc from 'fast-check'
import { ChainBuilder } from '../chain-builder.ts'
import type { DeviceArea } from '../device-area.ts'
import { usedBatch } from '../virtqueue.ts'
import { type Completion, type Expected, NaiveReader, type UsedRingSource, type Verdict } from './naive-device.ts'
import { at, type RingBench, ringBench } from './ring-bench.ts'

export interface Config {
  readonly size: number
  readonly eventIdx: boolean
  readonly indirect: boolean
  readonly indirectCapacity: number
  readonly legacy: boolean
  readonly strict: boolean
  readonly startIndex: number
}

export const config: fc.Arbitrary<Config> = fc.record<Config>({
  size: fc.constantFrom(1, 2, 4, 8, 16),
  eventIdx: fc.boolean(),
  indirect: fc.boolean(),
  indirectCapacity: fc.constantFrom(2, 3, 16),
  legacy: fc.boolean(),
  strict: fc.boolean(),
  // Near the wrap, or it is never reached.
  startIndex: fc.oneof(fc.integer({ min: 0xffe0, max: 0xffff }), fc.constant(0), fc.nat(0xffff)),
})

export type Step =
  | { readonly do: 'add'; readonly readable: number; readonly writable: number; readonly length: number }
  | { readonly do: 'publish' | 'enable' | 'disable' | 'suppress' | 'desuppress' | 'garbage' }
  | { readonly do: 'use'; readonly pick: number; readonly fill: number }
  | { readonly do: 'pop'; readonly batch: number }
  | { readonly do: 'bad id'; readonly pick: number; readonly kind: number }
  | { readonly do: 'reuse' | 'too long'; readonly pick: number; readonly by: number }
  | { readonly do: 'jump'; readonly by: number }

export const honest: fc.WeightedArbitrary<Step>[] = [
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      readable: fc.nat(3),
      writable: fc.nat(3),
      length: fc.integer({ min: 1, max: 2000 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('publish' as const) }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('use' as const), pick: fc.nat(15), fill: fc.nat(100) }) },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('pop' as const), batch: fc.integer({ min: 1, max: 20 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('enable' as const, 'disable' as const, 'suppress' as const, 'desuppress' as const),
    }),
  },
]

// Mostly plausible: a device that goes wild at once breaks the queue and hides everything deeper.
export const hostile: fc.WeightedArbitrary<Step>[] = [
  ...honest.map(({ weight, arbitrary }) => ({ weight: 5 * weight, arbitrary })),
  { weight: 5, arbitrary: fc.record({ do: fc.constant('garbage' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('bad id' as const), pick: fc.nat(15), kind: fc.nat(9) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('reuse' as const, 'too long' as const),
      pick: fc.nat(15),
      by: fc.constantFrom(1, 2, 0x7fffffff, 0xffffffff),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('jump' as const),
      by: fc.oneof(
        { weight: 6, arbitrary: fc.nat(3) },
        { weight: 1, arbitrary: fc.integer({ min: -3, max: 20 }) },
        { weight: 1, arbitrary: fc.nat(0xffff) },
      ),
    }),
  },
]

export const steps = (weighted: fc.WeightedArbitrary<Step>[]): fc.Arbitrary<Step[]> =>
  fc.array(fc.oneof(...weighted), { minLength: 60, maxLength: 300, size: 'max' })

/** Driver, device and naive reader, with what was added and not yet reported. */
export class Play {
  readonly bench: RingBench
  reader: NaiveReader
  readonly config: Config
  readonly chain = new ChainBuilder(6)
  /** Added, not yet seen by the device. */
  added: { cookie: number; capacity: number; descriptors: number; buffers: unknown[] }[] = []
  /** With the device: ids in the order they were made available. */
  held: number[] = []
  readonly descriptors = new Map<number, number>()
  free: number
  cookie = 1
  reported = 0
  clamped = 0
  /** Ids the device has returned, for it to return them again. */
  readonly history: number[] = []
  /** Whether the driver has asked for used buffer notifications. */
  wanted = true
  /** The used index up to which the driver has seen everything: the next use has to be announced. */
  caughtUp: number | undefined

  constructor(settings: Config, mapDeviceArea?: (bytes: Uint8Array, offset: number, size: number) => DeviceArea) {
    this.config = settings
    this.bench = ringBench({
      ...settings,
      trust: settings.strict ? 'strict' : 'tolerant',
      memoryLength: 1 << 14,
      ...(mapDeviceArea && { mapDeviceArea }),
    })
    this.reader = new NaiveReader(settings.size, settings.strict, settings.startIndex)
    this.free = settings.size
    this.caughtUp = settings.startIndex
  }

  run(step: Step): void {
    const { queue, device } = this.bench
    switch (step.do) {
      case 'add':
        return this.#add(step)
      case 'publish':
        return this.#publish()
      case 'pop':
        return this.pop(step.batch, this.#memorySource())
      case 'use':
        return this.#use(step.pick, (capacity) => Math.floor((capacity * step.fill) / 100))
      case 'enable':
        this.wanted = true
        this.caughtUp = queue.enableUsedNotifications() ? undefined : device.usedIndex
        return
      case 'disable':
        queue.disableUsedNotifications()
        this.wanted = false
        this.caughtUp = undefined
        return
      case 'suppress':
        device.usedFlags = this.config.eventIdx ? 0 : 1
        device.availEvent = (device.nextAvailable + 0x8000) & 0xffff
        return
      case 'desuppress':
        device.usedFlags = 0
        device.availEvent = device.nextAvailable
        return
      case 'garbage':
        return this.#garbage()
      case 'bad id':
        return this.#useInstead(this.#badId(step.pick, step.kind))
      case 'reuse':
        return this.#useInstead(this.history.at(-1 - (step.pick % 4)))
      case 'too long':
        return this.#use(step.pick, (capacity) => Math.min(0xffffffff, capacity + step.by))
      case 'jump':
        return device.moveUsedIndex((device.usedIndex + step.by) & 0xffff)
    }
  }

  pop(batchSize: number, source: UsedRingSource): void {
    const { queue } = this.bench
    const wasBroken = queue.broken
    const batch = usedBatch(batchSize)
    const count = queue.popUsed(batch)
    const got: Completion[] = []
    for (let i = 0; i < count; i++) got.push({ cookie: batch.cookies[i]!, written: batch.written[i]! })
    if (wasBroken !== undefined) {
      deepEqual(got, [])
      return
    }
    this.#compare(got, this.reader.read(source, batchSize))
    this.caughtUp = this.wanted && count < batchSize ? this.reader.lastUsed : undefined
  }

  /** What holds at any time. */
  checkState(): void {
    const { queue, broken } = this.bench
    const inFlight = this.added.length + this.reader.outstanding.size
    if (queue.inFlight !== inFlight || queue.stats.inFlight !== inFlight) throw new Error(`in flight: not ${inFlight}`)
    if (queue.free !== (queue.broken ? 0 : this.free)) throw new Error(`free: ${queue.free}, not ${this.free}`)
    if (queue.stats.added !== this.cookie - 1) throw new Error('stats.added')
    if (queue.stats.used !== this.reported) throw new Error('stats.used')
    if (queue.stats.lengthsClamped !== this.clamped) throw new Error('stats.lengthsClamped')
    if (broken.length !== (queue.broken ? 1 : 0)) throw new Error(`told ${broken.length} times`)
  }

  /** Where the memory holds still: whether the driver knows that there is something to take. */
  checkHasUsed(): void {
    const { queue, device } = this.bench
    equal(queue.hasUsed(), queue.broken === undefined && device.usedIndex !== this.reader.lastUsed)
  }

  /** Resets, checks that exactly the buffers that were never reported come back, and starts again. */
  restart(): void {
    const { queue, device, broken } = this.bench
    const { size, strict, startIndex } = this.config
    const owed = [...this.added, ...this.reader.outstanding.values()].map(({ cookie }) => cookie)
    deepEqual([...queue.reset()].sort(ascending), owed.sort(ascending))
    device.held.clear()
    device.nextAvailable = startIndex
    device.usedIndex = startIndex
    broken.length = 0
    this.reader = new NaiveReader(size, strict, startIndex)
    this.added = []
    this.held = []
    this.free = size
    this.wanted = true
    this.caughtUp = startIndex
  }

  #add({ readable, writable, length }: Extract<Step, { do: 'add' }>): void {
    const { queue } = this.bench
    const { size, indirect, indirectCapacity } = this.config
    const count = readable + writable
    if (count === 0 || count > size) return
    this.chain.clear()
    const buffers: unknown[] = []
    let capacity = 0
    for (let i = 0; i < count; i++) {
      const isWritable = i >= readable
      const address = this.cookie * 2 ** 20 + i * 4096 + (this.cookie % 3) * 2 ** 33
      if (isWritable) this.chain.addWritable(at(address), length + i)
      else this.chain.addReadable(at(address), length + i)
      if (isWritable) capacity += length + i
      buffers.push({ address, length: length + i, writable: isWritable })
    }
    const descriptors = indirect && count > 1 && count <= Math.min(indirectCapacity, size) ? 1 : count
    const fits = queue.broken === undefined && descriptors <= this.free
    const first = this.chain.addresses[0]!
    let accepted: boolean
    if (count > 1) accepted = queue.addChain(this.chain, this.cookie)
    else if (writable === 1) accepted = queue.addWritable(at(first), length, this.cookie)
    else accepted = queue.addReadable(at(first), length, this.cookie)
    equal(accepted, fits)
    if (!accepted) return
    this.added.push({ cookie: this.cookie, capacity, descriptors, buffers })
    this.descriptors.set(this.cookie, descriptors)
    this.free -= descriptors
    this.cookie++
  }

  #publish(): void {
    const { queue, device } = this.bench
    const before = this.bench.notifications
    const first = device.availableIndex
    queue.publish()
    if (queue.broken !== undefined) {
      equal(device.availableIndex, first)
      return
    }
    // It may have returned some without knowing: by a jump of its index over old elements.
    for (const id of device.held.keys()) if (!this.reader.outstanding.has(id)) device.held.delete(id)
    const chains = device.take()
    equal(
      chains.some(({ id }) => this.reader.outstanding.has(id)),
      false,
    )
    deepEqual(
      chains.map(({ buffers }) => buffers),
      this.added.map(({ buffers }) => buffers),
    )
    const asked = this.config.eventIdx ? this.#passed(first, chains.length) : chains.length > 0 && !this.#suppressed()
    equal(this.bench.notifications - before, asked ? 1 : 0)
    for (const { id } of chains) {
      const { cookie, capacity } = this.added.shift()!
      this.reader.outstanding.set(id, { cookie, capacity } satisfies Expected)
      this.held.push(id)
    }
  }

  #passed(first: number, count: number): boolean {
    for (let i = 0; i < count; i++) if ((first + i) % 0x10000 === this.bench.device.availEvent) return true
    return false
  }

  #suppressed(): boolean {
    const { memory, ring } = this.bench.device
    return memory.getUint16(ring.deviceArea, true) % 2 === 1
  }

  #use(pick: number, written: (capacity: number) => number): void {
    const { device } = this.bench
    if (this.held.length === 0) return
    const [id] = this.held.splice(pick % this.held.length, 1) as [number]
    const old = device.usedIndex
    const mustBeAnnounced = this.caughtUp === old && this.bench.queue.broken === undefined
    device.putUsed(id, written(this.reader.outstanding.get(id)?.capacity ?? 0))
    if (mustBeAnnounced) equal(device.mustNotify(old), true)
    this.history.push(id)
  }

  /** Returns another id than the one whose turn it is, so that the index stays plausible. */
  #useInstead(id: number | undefined): void {
    if (this.held.shift() !== undefined && id !== undefined) this.bench.device.putUsed(id, 0)
  }

  #garbage(): void {
    const { device, memory, queue, base } = this.bench
    // So that the naive device has read every chain that the driver believes in.
    this.#publish()
    const { deviceArea } = device.ring
    const end = deviceArea + 6 + 8 * this.config.size
    const index = memory.getUint16(deviceArea + 2, true)
    const elements = new Uint8Array(memory.buffer.slice(deviceArea + 4, end - 2))
    const publishedIndex = device.availableIndex
    for (let offset = queue.addresses.descriptorArea - base; offset < end; offset++) {
      memory.setUint8(offset, (offset * 167 + this.cookie * 31) & 0xff)
    }
    // The used ring as it was, apart from flags and avail_event; and idx, which only the naive device reads back.
    memory.setUint16(deviceArea + 2, index, true)
    new Uint8Array(memory.buffer, deviceArea + 4, elements.length).set(elements)
    memory.setUint16(device.ring.driverArea + 2, publishedIndex, true)
    this.wanted = false
    this.caughtUp = undefined
  }

  #badId(pick: number, kind: number): number {
    const { size } = this.config
    const head = this.held.length > 0 ? this.held[pick % this.held.length]! : 0
    const values = [
      size,
      size + 1,
      0xffff,
      0x10000,
      head + 0x10000,
      head + 0xffff_0000,
      0xffffffff,
      0x80000000 + head,
      pick % size,
    ]
    return values[kind] ?? (head + size) % 2 ** 32
  }

  #compare(got: Completion[], verdict: Verdict): void {
    const { queue } = this.bench
    deepEqual({ got, violation: queue.broken?.code }, { got: verdict.completions, violation: verdict.violation })
    this.reported += got.length
    this.clamped += verdict.clamped
    for (const { cookie } of got) this.free += this.descriptors.get(cookie)!
  }

  #memorySource(): UsedRingSource {
    const { memory, ring } = this.bench.device
    return {
      index: () => memory.getUint16(ring.deviceArea + 2, true),
      id: (slot) => memory.getUint32(ring.deviceArea + 4 + 8 * slot, true),
      length: (slot) => memory.getUint32(ring.deviceArea + 8 + 8 * slot, true),
    }
  }
}

const ascending = (a: number, b: number): number => a - b
