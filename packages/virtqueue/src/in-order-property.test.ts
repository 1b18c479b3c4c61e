import { PackedRing, SplitRing } from '@virtio-ts/spec'
import { heapDma } from '@virtio-ts/memory/heap'
import { deepEqual, equal } from 'node:assert/strict'
import fc from 'fast-check'
import { describe, it } from 'vitest'
import { ChainBuilder, PackedVirtqueue, SplitVirtqueue, usedBatch } from './index.ts'
import { at } from './testing/ring-bench.ts'

const BASE = 0x10_0000

/** A chain as the test knows it: what the device would return, and what the driver should say. */
interface Chain {
  readonly id: number
  readonly cookie: number
  readonly capacity: number
  readonly descriptors: number
}

interface Element {
  readonly id: number
  readonly length: number
}

/** The device of a test, as plainly as the specification puts it: it writes elements, and reads nothing. */
interface Hand {
  /** Writes an element where the next one goes, then goes on by so many chains, which take so many descriptors. */
  put(element: Element, chains: number, descriptors: number): void
}

const steps = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('add' as const), readable: fc.nat(2), writable: fc.nat(2) }) },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const) }) },
    {
      weight: 6,
      arbitrary: fc.record({ do: fc.constant('use' as const), chains: fc.nat(4), fill: fc.nat(100) }),
    },
    { weight: 5, arbitrary: fc.record({ do: fc.constant('pop' as const), batch: fc.integer({ min: 1, max: 9 }) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('lie' as const),
        // Mostly near the truth: an id that is out, but not that one; an index that goes too far, or not far enough.
        id: fc.oneof(fc.nat(9), fc.constantFrom(-1, 0x10000, 0xffff_ffff)),
        /** The id of one that waits, rather. */
        waiting: fc.oneof(fc.constant(undefined), fc.nat(2)),
        length: fc.constantFrom(0, 1, 64, 65, 1000, 0xffff_ffff),
        chains: fc.integer({ min: 1, max: 4 }),
      }),
    },
  ),
  { minLength: 40, maxLength: 200, size: 'max' },
)

const config = fc.record({
  format: fc.constantFrom('split' as const, 'packed' as const),
  size: fc.constantFrom(1, 2, 4, 8, 16),
  indirect: fc.boolean(),
  eventIdx: fc.boolean(),
  strict: fc.boolean(),
  startIndex: fc.constantFrom(0, 0xfff9),
})
type Config = typeof config extends fc.Arbitrary<infer Value> ? Value : never

describe('in-order use', () => {
  it('§ 2.7.9: § 2.8.8: gives back what a plain reading of the ring gives, and breaks where that makes no sense', () => {
    let broke = 0
    let batches = 0
    fc.assert(
      fc.property(config, steps, (settings, script) => {
        const play = new Play(settings)
        for (const step of script) play.run(step)
        if (play.queue.broken) broke++
        batches += play.batches
      }),
      { numRuns: 600 },
    )
    // Neither the one nor the other is rare.
    equal(broke > 60 && batches > 200, true)
  })
})

class Play {
  readonly queue: SplitVirtqueue | PackedVirtqueue
  readonly settings: Config
  readonly hand: Hand
  /** Added, in order. */
  readonly added: Chain[] = []
  /** Published, in order; the first `shown` of them were used by an element the driver may read. */
  readonly out: Chain[] = []
  readonly expected: { cookie: number; written: number }[] = []
  shown = 0
  batches = 0
  lied: string | undefined
  cookie = 0
  nextId = 0

  constructor(settings: Config) {
    this.settings = settings
    const { format, size, startIndex } = settings
    const dma = heapDma(1 << 15, { deviceAddress: BASE })
    const options = {
      index: 0,
      allocator: dma,
      inOrder: true,
      trust: settings.strict ? 'strict' : 'tolerant',
      notify() {},
      ...settings,
    } as const
    this.queue = format === 'split' ? new SplitVirtqueue({ ...options, legacy: false }) : new PackedVirtqueue(options)
    const view = new DataView(this.queue.memory[0]!.bytes.buffer)
    this.hand =
      format === 'split'
        ? splitHand(view, this.queue.addresses.deviceArea - BASE, size, startIndex)
        : packedHand(view, this.queue.addresses.descriptorArea - BASE, size)
  }

  run(step: typeof steps extends fc.Arbitrary<(infer Step)[]> ? Step : never): void {
    // After the lie nothing happens but looking for it: what it is depends on what is out.
    if (this.lied !== undefined && this.queue.broken === undefined && step.do !== 'pop') return
    if (step.do === 'add') this.#add(step.readable, step.writable)
    else if (step.do === 'publish') this.#publish()
    else if (step.do === 'use') this.#use(step.chains, step.fill)
    else if (step.do === 'pop') this.#pop(step.batch)
    else this.#lie(step)
  }

  #add(readable: number, writable: number): void {
    const { size, indirect, format } = this.settings
    const count = readable + writable
    if (count === 0 || count > size) return
    const chain = new ChainBuilder(4)
    for (let i = 0; i < readable; i++) chain.addReadable(at(BASE), 10)
    for (let i = 0; i < writable; i++) chain.addWritable(at(BASE), 32)
    const descriptors = indirect && count > 1 ? 1 : count
    const taken = [...this.added, ...this.out].reduce((sum, each) => sum + each.descriptors, 0)
    const room = descriptors <= size - taken && this.queue.broken === undefined
    equal(this.queue.addChain(chain, this.cookie), room)
    if (!room) return
    this.added.push({ id: this.nextId, cookie: this.cookie++, capacity: 32 * writable, descriptors })
    this.nextId = (this.nextId + (format === 'split' ? descriptors : 1)) % size
  }

  #publish(): void {
    if (this.queue.broken === undefined) this.out.push(...this.added.splice(0))
    this.queue.publish()
  }

  #use(chains: number, fill: number): void {
    const batch = this.out.slice(this.shown, this.shown + 1 + chains)
    if (batch.length === 0 || this.lied !== undefined) return
    const last = batch.at(-1)!
    const written = Math.floor((last.capacity * fill) / 100)
    for (const each of batch)
      this.expected.push({ cookie: each.cookie, written: each === last ? written : each.capacity })
    this.hand.put({ id: last.id, length: written }, batch.length, sum(batch))
    this.shown += batch.length
    if (batch.length > 1) this.batches++
  }

  /** One lie, after which the device says nothing any more. */
  #lie(lie: { id: number; waiting: number | undefined; length: number; chains: number }): void {
    const { length, chains } = lie
    if (this.lied !== undefined) return
    const { format, size, strict } = this.settings
    // In a packed ring it would stand in the place of the truth.
    if (format === 'packed' && sum(this.out.slice(0, this.shown)) === size) return
    const waiting = this.out.slice(this.shown)
    const id = waiting[lie.waiting ?? -1]?.id ?? lie.id
    const named = format === 'split' ? id >>> 0 : id & 0xffff
    const place = waiting.findIndex((each) => each.id === named)
    const moved = format === 'split' ? chains : place + 1
    this.lied = judge()
    // That would have been the truth.
    if (this.lied === 'none') {
      this.lied = undefined
      return
    }
    this.hand.put({ id, length }, chains, 1)

    function judge(): string {
      if (format === 'split' && chains > waiting.length) return 'ring.idx-jump'
      if (named >= size) return 'ring.id-range'
      const chain = waiting[place]
      if (chain === undefined) return 'ring.not-head'
      if (place + 1 > moved) return 'ring.order'
      if (length > chain.capacity && chain.capacity > 0 && strict) return 'ring.length'
      return 'none'
    }
  }

  #pop(capacity: number): void {
    const before = this.queue.broken
    const batch = usedBatch(capacity)
    const count = this.queue.popUsed(batch)
    const got = Array.from({ length: count }, (_, i) => ({ cookie: batch.cookies[i]!, written: batch.written[i]! }))
    // An index that jumps spoils what was shown before and not read yet, too.
    const spoilt = before !== undefined || (this.lied === 'ring.idx-jump' && this.queue.broken !== undefined)
    const expected = spoilt ? [] : this.expected.splice(0, capacity)
    deepEqual(got, expected)
    this.out.splice(0, count)
    this.shown -= count
    if (before !== undefined) return
    const reached = this.lied !== undefined && (this.expected.length === 0 || spoilt) && count < capacity
    equal(this.queue.broken?.code, reached ? this.lied : undefined)
    if (!reached) equal(this.queue.inFlight, this.added.length + this.out.length)
  }
}

const sum = (chains: readonly Chain[]): number => chains.reduce((total, { descriptors }) => total + descriptors, 0)

function splitHand(view: DataView, deviceArea: number, size: number, startIndex: number): Hand {
  let index = startIndex
  return {
    put({ id, length }, chains) {
      const element = deviceArea + SplitRing.USED_RING + SplitRing.USED_ELEMENT_SIZE * (index % size)
      view.setUint32(element, id >>> 0, true)
      view.setUint32(element + 4, length, true)
      index = (index + chains) & 0xffff
      view.setUint16(deviceArea + SplitRing.USED_IDX, index, true)
    },
  }
}

function packedHand(view: DataView, ring: number, size: number): Hand {
  let position = 0
  return {
    put({ id, length }, _chains, descriptors) {
      const used = position < size ? PackedRing.DESC_F_AVAIL | PackedRing.DESC_F_USED : 0
      const descriptor = ring + PackedRing.DESCRIPTOR_SIZE * (position % size)
      view.setUint32(descriptor + PackedRing.DESC_LENGTH, length, true)
      view.setUint16(descriptor + PackedRing.DESC_ID, id & 0xffff, true)
      view.setUint16(descriptor + PackedRing.DESC_FLAGS, used | PackedRing.DESC_F_WRITE, true)
      position = (position + descriptors) % (2 * size)
    },
  }
}
