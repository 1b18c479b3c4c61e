import { deepEqual, equal } from 'node:assert/strict'
import fc from 'fast-check'
import { ChainBuilder } from '../chain-builder.ts'
import type { PackedDeviceArea } from '../packed-device-area.ts'
import { usedBatch } from '../virtqueue.ts'
import type { Completion } from './naive-device.ts'
import {
  type Cursor,
  NaivePackedReader,
  type PackedExpected,
  type UsedDescriptorSource,
} from './naive-packed-device.ts'
import { type PackedBench, packedBench } from './packed-bench.ts'
import { at } from './ring-bench.ts'
import type { Step } from './ring-play.ts'

export interface PackedConfig {
  readonly size: number
  readonly eventIdx: boolean
  readonly indirect: boolean
  readonly indirectCapacity: number
  readonly strict: boolean
}

export const packedConfig: fc.Arbitrary<PackedConfig> = fc.record<PackedConfig>({
  size: fc.constantFrom(1, 2, 3, 5, 7, 8, 16),
  eventIdx: fc.boolean(),
  indirect: fc.boolean(),
  indirectCapacity: fc.constantFrom(2, 3, 16),
  strict: fc.boolean(),
})

interface Added extends PackedExpected {
  readonly buffers: unknown[]
}

/** Driver, device and naive reader, with what was added and not yet reported: the split ring's `Play` for packed rings. */
export class PackedPlay {
  readonly bench: PackedBench
  reader: NaivePackedReader
  readonly config: PackedConfig
  readonly chain = new ChainBuilder(6)
  /** Added, not yet seen by the device. */
  added: Added[] = []
  /** With the device: ids in the order they were made available. */
  held: number[] = []
  readonly descriptors = new Map<number, number>()
  free: number
  cookie = 1
  reported = 0
  clamped = 0
  /** Ids the device has returned, for it to return them again. */
  readonly history: number[] = []
  wanted = true
  /** The place up to which the driver has seen everything: the next use has to be announced. */
  caughtUp: Cursor | undefined
  /** Where the device wants to be told, with EVENT_IDX; 'always' and 'never' by flags. */
  #wish: Cursor | 'always' | 'never' = 'always'
  /** Used descriptors the device has written, and the driver has taken, since the start. */
  #written = 0
  #popped = 0
  /** Which of them had an id that the device did not hold: how far to go on behind it, only the driver knows. */
  #astray = Number.POSITIVE_INFINITY

  constructor(
    settings: PackedConfig,
    mapDeviceArea?: (bytes: Uint8Array, offset: number, size: number) => PackedDeviceArea,
  ) {
    this.config = settings
    this.bench = packedBench({
      ...settings,
      trust: settings.strict ? 'strict' : 'tolerant',
      memoryLength: 1 << 14,
      ...(mapDeviceArea && { mapDeviceArea }),
    })
    this.reader = new NaivePackedReader(settings.size, settings.strict)
    this.free = settings.size
    this.caughtUp = this.reader.used.copy()
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
        return this.#use(step.pick, (capacity) => Math.floor((capacity * step.fill) / 100), step.fill % 2 === 0)
      case 'enable':
        this.wanted = true
        this.caughtUp = queue.enableUsedNotifications() ? undefined : device.used.copy()
        return
      case 'disable':
        queue.disableUsedNotifications()
        this.wanted = false
        this.caughtUp = undefined
        return
      case 'suppress':
        this.#wish = 'never'
        return device.setEvents(1)
      case 'desuppress':
        this.#wish = this.config.eventIdx ? device.available.copy() : 'always'
        return device.setEvents(this.config.eventIdx ? 2 : 0, device.available)
      case 'garbage':
        return this.#garbage()
      case 'bad id':
        return this.#useInstead(this.#badId(step.pick, step.kind))
      case 'reuse':
        return this.#useInstead(this.history.at(-1 - (step.pick % 4)))
      case 'too long':
        return this.#use(step.pick, (capacity) => Math.min(0xffffffff, capacity + step.by), step.pick % 3 !== 0)
      case 'jump':
        return this.#wrongFlags(step.by)
    }
  }

  pop(batchSize: number, source: UsedDescriptorSource): void {
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
    const verdict = this.reader.read(source, batchSize)
    deepEqual({ got, violation: queue.broken?.code }, { got: verdict.completions, violation: verdict.violation })
    this.reported += got.length
    this.clamped += verdict.clamped
    for (const { cookie } of got) this.free += this.descriptors.get(cookie)!
    this.caughtUp = this.wanted && count < batchSize ? this.reader.used.copy() : undefined
    this.#popped += got.length
    // Returned before it was made available, and legal by the time it was read: this device goes on at a place of its own.
    if (this.#popped >= this.#astray && queue.broken === undefined) this.restart()
  }

  /** What holds at any time. */
  checkState(): void {
    const { queue, broken } = this.bench
    const inFlight = this.added.length + this.reader.outstanding.size
    equal(queue.inFlight, inFlight)
    equal(queue.free, queue.broken ? 0 : this.free)
    const { added, used, lengthsClamped } = queue.stats
    deepEqual([added, used, lengthsClamped], [this.cookie - 1, this.reported, this.clamped])
    equal(broken.length, queue.broken ? 1 : 0)
  }

  /** Where the memory holds still: whether the driver knows that there is something to take. */
  checkHasUsed(): void {
    const { queue, device } = this.bench
    const { slot, wrap } = this.reader.used
    const flags = device.flags(slot)
    const used = ((flags & 0x80) !== 0) === wrap && ((flags & 0x8000) !== 0) === wrap
    equal(queue.hasUsed(), queue.broken === undefined && used)
  }

  /** Resets, checks that exactly the buffers that were never reported come back, and starts again. */
  restart(): void {
    const { queue, device, broken } = this.bench
    const owed = [...this.added, ...this.reader.outstanding.values()].map(({ cookie }) => cookie)
    deepEqual([...queue.reset()].sort(ascending), owed.sort(ascending))
    device.restart()
    broken.length = 0
    this.reader = new NaivePackedReader(this.config.size, this.config.strict)
    this.added = []
    this.held = []
    this.free = this.config.size
    this.wanted = true
    this.#wish = 'always'
    this.#written = 0
    this.#popped = 0
    this.#astray = Number.POSITIVE_INFINITY
    this.caughtUp = this.reader.used.copy()
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
    // Nothing shows before `publish`.
    if (this.bench.queue.broken === undefined) deepEqual(this.bench.device.take(), [])
    this.added.push({ cookie: this.cookie, capacity, descriptors, buffers })
    this.descriptors.set(this.cookie, descriptors)
    this.free -= descriptors
    this.cookie++
  }

  #publish(): void {
    const { queue, device } = this.bench
    const before = this.bench.notifications
    const first = device.available.copy()
    queue.publish()
    if (queue.broken !== undefined) {
      deepEqual(device.take(), [])
      return
    }
    const chains = device.take()
    deepEqual(
      chains.map(({ buffers, count }) => ({ buffers, count })),
      this.added.map(({ buffers, descriptors }) => ({ buffers, count: descriptors })),
    )
    equal(this.bench.notifications - before, chains.length > 0 && this.#asked(first, device.available) ? 1 : 0)
    for (const { id } of chains) {
      const { cookie, capacity, descriptors } = this.added.shift()!
      this.reader.outstanding.set(id, { cookie, capacity, descriptors })
      this.held.push(id)
    }
  }

  #asked(first: Cursor, end: Cursor): boolean {
    const wish = this.#wish
    if (typeof wish === 'string') return wish === 'always'
    // A full ring begins and ends at the same descriptor, not at the same wrap counter.
    for (const place = first.copy(); !place.is(end); place.next()) if (place.is(wish)) return true
    return false
  }

  #use(pick: number, written: (capacity: number) => number, write: boolean): void {
    const { device, queue } = this.bench
    if (this.held.length === 0) return
    const [id] = this.held.splice(pick % this.held.length, 1) as [number]
    const old = device.used.copy()
    const mustBeAnnounced = this.caughtUp?.is(old) === true && queue.broken === undefined
    this.#putUsed(id, written(this.reader.outstanding.get(id)?.capacity ?? 0), write)
    if (mustBeAnnounced) equal(device.mustNotify(old), true)
    this.history.push(id)
  }

  /** Returns another id than the one whose turn it is. */
  #useInstead(id: number | undefined): void {
    if (this.held.shift() === undefined || id === undefined) return
    this.#putUsed(id, 0, true)
  }

  #putUsed(id: number, written: number, write: boolean): void {
    const { device } = this.bench
    this.#written++
    if (!device.held.has(id)) this.#astray = Math.min(this.#astray, this.#written)
    device.putUsed(id, written, write)
  }

  /** D14: writes flags where it would write next that say anything but used. */
  #wrongFlags(kind: number): void {
    const { device } = this.bench
    if (this.held.length === 0) return
    const { slot, wrap } = device.used
    // The fourth pair is what the driver writes a lap later: the naive device would take it for that.
    const pairs = wrap ? [0, 0x80] : [0x8080, 0x8000]
    device.writeUsed(device.used, this.held[0]!, slot, pairs[Math.abs(kind) % 2]! | 2)
  }

  /** Scribbles over all that is neither a used descriptor to be read nor a bit by which the device finds its way. */
  #garbage(): void {
    const { device, memory } = this.bench
    // So that the naive device has read every chain that the driver believes in.
    this.#publish()
    const { descriptorArea, deviceArea } = device.ring
    const kept = new Set<number>()
    for (const place = this.reader.used.copy(); !place.is(device.used) && kept.size < this.config.size; place.next())
      kept.add(place.slot)
    for (let offset = 0; offset < 16 * this.config.size; offset++) {
      if (kept.has(offset >> 4)) continue
      const old = memory.getUint8(descriptorArea + offset)
      const garbage = (offset * 167 + this.cookie * 31) & 0xff
      memory.setUint8(descriptorArea + offset, offset % 16 < 14 ? garbage : (garbage & 0x7f) | (old & 0x80))
    }
    // Plausible half of the time: offsets up to one too many, and all four values of the flags.
    const where = ((this.cookie * 5) % (this.config.size + 1)) | ((this.cookie & 4) << 13)
    const flags = (this.cookie * 40503) & 0xffff
    memory.setUint16(deviceArea, where, true)
    memory.setUint16(deviceArea + 2, flags, true)
    this.#wish = this.#read(where, flags & 3)
  }

  #read(where: number, flags: number): Cursor | 'always' | 'never' {
    if (flags === 1) return 'never'
    if (flags !== 2 || !this.config.eventIdx || (where & 0x7fff) >= this.config.size) return 'always'
    const place = this.bench.device.available.copy()
    place.slot = where & 0x7fff
    place.wrap = where >= 0x8000
    return place
  }

  #badId(pick: number, kind: number): number {
    const { size } = this.config
    const head = this.held.length > 0 ? this.held[pick % this.held.length]! : 0
    const values = [size, size + 1, 0xffff, 0x8000, 0x8000 + head, 0x7fff, 0x100 + head, pick % size]
    return values[kind] ?? (head + size) & 0xffff
  }

  #memorySource(): UsedDescriptorSource {
    const { memory, ring } = this.bench.device
    return {
      word: (slot) => memory.getUint32(ring.descriptorArea + 16 * slot + 12, true),
      length: (slot) => memory.getUint32(ring.descriptorArea + 16 * slot + 8, true),
    }
  }
}

const ascending = (a: number, b: number): number => a - b
