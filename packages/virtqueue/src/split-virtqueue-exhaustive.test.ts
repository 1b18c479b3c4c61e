import { describe, expect, it } from 'vitest'
import { NaiveReader } from './testing/naive-device.ts'
import { at, type RingBench, ringBench } from './testing/ring-bench.ts'
import { ChainBuilder } from './chain-builder.ts'
import { usedBatch } from './virtqueue.ts'

describe('SplitVirtqueue, exhaustively', () => {
  it('D9: accepts exactly the used indices from where it stands to what is in flight, of all 65536', () => {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    let wrong = 0
    for (const size of [1, 2, 4, 8]) {
      const bench = ringBench({ size, memoryLength: 4096, startIndex: 0xfffc })
      const batch = usedBatch(size)
      for (let inFlight = 0; inFlight <= size; inFlight++) {
        bench.broken.length = 0
        // All of them for one size; for the others, every one near by and some of the rest.
        for (let index = 0; index < 0x10000; index += size === 4 || ((index + 500) & 0xffff) < 1000 ? 1 : 61) {
          if (bench.queue.inFlight !== inFlight || bench.queue.broken !== undefined) {
            bench.queue.reset()
            for (let i = 0; i < inFlight; i++) bench.queue.addWritable(at(64 * i), 64, i)
            bench.queue.publish()
            for (let i = 0; i < inFlight; i++) bench.device.writeElement(0xfffc + i, i, i)
          }
          bench.device.moveUsedIndex(index)
          const ahead = (index - 0xfffc) & 0xffff
          const count = bench.queue.popUsed(batch)
          const legal = ahead <= inFlight
          if (count !== (legal ? ahead : 0)) wrong++
          if (bench.queue.broken?.code !== (legal ? undefined : 'ring.idx-jump')) wrong++
          if (bench.queue.inFlight !== inFlight - count) wrong++
        }
      }
    }
    Error.stackTraceLimit = limit
    expect(wrong).toBe(0)
  })

  // Every sequence of these, up to a length, on rings of every small size: with the naive reader beside.
  const steps = ['add', 'add two', 'publish', 'use oldest', 'use newest', 'use twice', 'take one'] as const

  it.each([
    [1, false, 6],
    [2, false, 6],
    [4, true, 6],
    [8, false, 6],
  ])(
    'in a ring of %i (indirect %s) every sequence of %i steps reports what the naive reader reports',
    (size, indirect, depth) => {
      const limit = Error.stackTraceLimit
      Error.stackTraceLimit = 0
      const sequence: number[] = Array.from({ length: depth }, () => 0)
      const bench = ringBench({ size, indirect, memoryLength: 4096, startIndex: 0xfffe })
      let failure: string | undefined
      let sequences = 0
      for (;;) {
        const difference = play(bench, sequence)
        sequences++
        if (difference !== undefined) {
          failure = `${sequence.map((step) => steps[step]).join(', ')}: ${difference}`
          break
        }
        let digit = depth - 1
        while (digit >= 0 && ++sequence[digit]! === steps.length) sequence[digit--] = 0
        if (digit < 0) break
      }
      Error.stackTraceLimit = limit
      expect([failure, sequences]).toEqual([undefined, steps.length ** depth])
    },
  )

  const two = new ChainBuilder(2).addReadable(at(0), 8).addWritable(at(64), 16)
  const one = usedBatch(1)

  function play({ queue, device }: RingBench, sequence: readonly number[]): string | undefined {
    const { size } = device.ring
    queue.reset()
    device.held.clear()
    device.nextAvailable = 0xfffe
    device.usedIndex = 0xfffe
    const reader = new NaiveReader(size, true, 0xfffe)
    const added: number[] = []
    const held: number[] = []
    let cookie = 0
    let descriptors = 0
    const taken = new Map<number, number>()
    for (const number of sequence) {
      const step = steps[number]!
      if (step === 'add' || step === 'add two') {
        const needed = step === 'add' || device.ring.indirect ? 1 : 2
        if (step === 'add two' && size < 2) continue
        const accepted = step === 'add' ? queue.addWritable(at(0), 16, cookie) : queue.addChain(two, cookie)
        if (accepted !== (queue.broken === undefined && descriptors + needed <= size)) return `add returned ${accepted}`
        if (!accepted) continue
        descriptors += needed
        taken.set(cookie, needed)
        added.push(cookie++)
      } else if (step === 'publish') {
        queue.publish()
        if (queue.broken !== undefined) continue
        const chains = device.take()
        if (chains.length !== added.length) return `${chains.length} chains available instead of ${added.length}`
        for (const { id } of chains) {
          reader.outstanding.set(id, { cookie: added.shift()!, capacity: 16 })
          held.push(id)
        }
      } else if (step === 'take one') {
        const used = queue.stats.used
        const before = queue.broken?.code
        const verdict = reader.read(
          {
            index: () => device.usedIndex,
            id: (slot) => device.memory.getUint32(device.ring.deviceArea + 4 + 8 * slot, true),
            length: (slot) => device.memory.getUint32(device.ring.deviceArea + 8 + 8 * slot, true),
          },
          1,
        )
        const count = queue.popUsed(one)
        if (before !== undefined) {
          if (count !== 0) return 'a broken queue returned a buffer'
          continue
        }
        if (count !== verdict.completions.length) return `popUsed returned ${count}`
        if (queue.broken?.code !== verdict.violation) return `broken: ${queue.broken?.code}, not ${verdict.violation}`
        if (queue.stats.used !== used + count) return 'stats.used'
        for (const completion of verdict.completions) {
          if (one.cookies[0] !== completion.cookie || one.written[0] !== completion.written) return 'another completion'
          descriptors -= taken.get(completion.cookie)!
        }
        if (queue.broken === undefined && queue.free !== size - descriptors) return `${queue.free} free`
      } else if (held.length > 0) {
        const id = step === 'use newest' ? held.pop()! : held.shift()!
        device.putUsed(id, 16)
        if (step === 'use twice') device.putUsed(id, 16)
      }
    }
    return undefined
  }
})
