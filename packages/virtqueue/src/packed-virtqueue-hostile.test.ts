import { describe, expect, it } from 'vitest'
import { packedBench, type PackedBench, type PackedBenchOptions } from './testing/packed-bench.ts'
import { Cursor } from './testing/naive-packed-device.ts'
import { at } from './testing/ring-bench.ts'
import { ChainBuilder } from './chain-builder.ts'
import { PackedDeviceArea } from './packed-device-area.ts'
import { usedBatch } from './virtqueue.ts'

const AVAIL = 0x80
const USED = 0x8000
const WRITE = 2

/** A ring with `count` writable chains of 64 bytes out, taken by the device; cookies 100 and up. `lap` 1: its wrap counters are 0. */
function running(options: PackedBenchOptions = {}, count = 4, lap = 0): PackedBench & { ids: number[] } {
  const bench = packedBench(options)
  const send = (chains: number): number[] => {
    for (let i = 0; i < chains; i++) bench.queue.addWritable(at(64 * i), 64, 100 + i)
    bench.queue.publish()
    return bench.device.take().map(({ id }) => id)
  }
  for (let i = 0; i < lap; i++) {
    for (const id of send(bench.queue.size)) bench.device.putUsed(id, 0)
    expect(bench.drain()).toHaveLength(bench.queue.size)
  }
  return Object.assign(bench, { ids: send(count) })
}

function expectBroken({ queue, broken, drain }: PackedBench, code: string, before: unknown[] = []): void {
  expect(drain()).toEqual(before)
  expect(broken.map((error) => error.code)).toEqual([code])
  expect(queue.broken).toBe(broken[0])
  expect(queue.broken?.details).toMatchObject({ queue: 3, device: 'bench', generation: 1 })
  expect([queue.popUsed(usedBatch(4)), queue.hasUsed(), queue.free]).toEqual([0, false, 0])
  expect([queue.addReadable(at(0), 1, 0), queue.addWritable(at(0), 1, 0)]).toEqual([false, false])
  expect(queue.addChain(new ChainBuilder(1).addReadable(at(0), 1), 0)).toBe(false)
}

describe('PackedVirtqueue against a hostile device: flags', () => {
  for (const lap of [0, 1]) {
    for (const size of [3, 8]) {
      it.each([0, AVAIL, USED, AVAIL | USED])(
        `§ 2.8.1: D14: flags 0x%i are used exactly if both bits are the wrap counter (lap ${lap}, ring of ${size})`,
        (pair) => {
          const bench = running({ size }, 2, lap)
          const used = pair === (lap === 0 ? AVAIL | USED : 0)
          for (const rest of [0, WRITE, 0x7f7f & ~0x80]) {
            bench.device.writeUsed(bench.device.used, bench.ids[1]!, 9, pair | (rest & ~(AVAIL | USED)))
            expect(bench.queue.hasUsed()).toBe(used)
            if (used) break
            expect(bench.drain()).toEqual([])
          }
          if (used) {
            bench.device.writeUsed(bench.device.used, bench.ids[1]!, 9, pair | WRITE)
            expect(bench.drain()).toEqual([{ cookie: 101, written: 9 }])
            return
          }
          // Written in part only: once the rest is there it counts, and only once.
          bench.device.putUsed(bench.ids[1]!, 5)
          expect(bench.drain()).toEqual([{ cookie: 101, written: 5 }])
          expect([bench.queue.broken, bench.queue.inFlight]).toEqual([undefined, 1])
        },
      )
    }
  }

  it('§ 2.8.2: D14: looks at the next descriptor only, whatever stands in those behind it', () => {
    const bench = running({}, 4)
    const later = bench.device.used.copy()
    later.next()
    // As a device does that writes the first used descriptor of a batch last.
    bench.device.writeUsed(later, bench.ids[1]!, 2, AVAIL | USED | WRITE)
    expect([bench.queue.hasUsed(), bench.drain()]).toEqual([false, []])
    bench.device.putUsed(bench.ids[0]!, 1)
    expect(bench.drain()).toEqual([
      { cookie: 100, written: 1 },
      { cookie: 101, written: 2 },
    ])
  })

  it('D20: a used descriptor before anything was made available breaks the queue', () => {
    const bench = packedBench()
    bench.device.putUsed(0, 0)
    expectBroken(bench, 'ring.not-head')
  })

  it('D23: a completion that comes after a reset breaks the queue instead of returning a buffer twice', () => {
    const bench = running()
    expect([...bench.queue.reset()]).toEqual([100, 101, 102, 103])
    bench.device.used = new Cursor(8)
    bench.device.putUsed(bench.ids[0]!, 64)
    expectBroken(bench, 'ring.not-head')
  })
})

describe('PackedVirtqueue against a hostile device: ids', () => {
  it.each([1, 2, 3, 5, 7, 8, 100, 256, 1000, 32768])(
    'D1: in a ring of %i every id beyond the descriptors breaks it',
    (size) => {
      for (const id of new Set([size, size + 1, 0x7fff, 0x8000, 0xfffe, 0xffff])) {
        if (id < size || id > 0xffff) continue
        const bench = running({ size, memoryLength: 1 << 20 }, 1)
        bench.device.putUsed(id, 0)
        expectBroken(bench, 'ring.id-range')
        expect(bench.broken[0]?.details.detail).toEqual({ id, size })
      }
    },
  )

  it('D2: D15: all 16 bits of the id count: an outstanding id with a higher bit set breaks the queue', () => {
    for (let bit = 3; bit < 16; bit++) {
      const bench = running()
      bench.device.putUsed(bench.ids[2]! | (1 << bit), 0)
      expectBroken(bench, 'ring.id-range')
    }
  })

  it('D3: D15: every id but those out breaks the queue, added but not published ones too', () => {
    for (let id = 0; id < 8; id++) {
      const bench = running({}, 3)
      bench.queue.addWritable(at(0), 1, 9)
      bench.device.putUsed(id, 0)
      if (bench.ids.includes(id)) expect(bench.drain()).toHaveLength(1)
      else expectBroken(bench, 'ring.not-head')
    }
  })

  it.each([1, 32])('D4: D15: an id returned twice counts once, then breaks the queue (batches of %i)', (batch) => {
    const bench = running()
    bench.device.putUsed(bench.ids[2]!, 5)
    bench.device.putUsed(bench.ids[2]!, 5)
    expect(bench.drain(batch)).toEqual([{ cookie: 102, written: 5 }])
    expectBroken(bench, 'ring.not-head')
    expect([...bench.queue.reset()]).toEqual([100, 101, 103])
  })

  it.each([false, true])(
    '§ 2.8.6: D15: goes on by its own count of a chain, whatever the device wrote into the rest of it (%s)',
    (lies) => {
      const bench = packedBench({ size: 7 })
      const chain = new ChainBuilder(3).addReadable(at(0), 8).addReadable(at(8), 8).addWritable(at(16), 8)
      for (let round = 0; round < 20; round++) {
        expect([
          bench.queue.addChain(chain, round),
          bench.queue.addWritable(at(0), 8, 50),
          bench.queue.addChain(chain, 90),
        ]).toEqual([true, true, true])
        bench.queue.publish()
        const ids = bench.device.take().map(({ id }) => id)
        const start = bench.device.used.copy()
        bench.device.putUsed(ids[0]!, 1)
        if (lies) {
          // Looks as if the chain had taken one descriptor only.
          start.next()
          bench.device.writeUsed(start, ids[1]!, 8, start.wrap ? AVAIL | USED | WRITE : WRITE)
        }
        expect(bench.drain()).toEqual([{ cookie: round, written: 1 }])
        bench.device.putUsed(ids[2]!, 2)
        bench.device.putUsed(ids[1]!, 3)
        expect(bench.drain()).toEqual([
          { cookie: 90, written: 2 },
          { cookie: 50, written: 3 },
        ])
      }
      expect([bench.queue.broken, bench.queue.free]).toEqual([undefined, 7])
    },
  )
})

describe('PackedVirtqueue against a hostile device: lengths', () => {
  const tooLong = [65, 128, 0x7fffffff, 0x80000000, 0xffffffff]

  it.each(tooLong)('D5: strict: a written length of %i for 64 bytes breaks the queue', (written) => {
    const bench = running({ trust: 'strict' })
    bench.device.putUsed(bench.ids[0]!, written)
    expectBroken(bench, 'ring.length')
    expect(bench.broken[0]?.details.detail).toEqual({ id: bench.ids[0], written, capacity: 64 })
  })

  it.each(tooLong)('D5: tolerant: a written length of %i for 64 bytes is cut and counted', (written) => {
    const bench = running({ trust: 'tolerant' })
    bench.device.putUsed(bench.ids[0]!, written)
    bench.device.putUsed(bench.ids[1]!, 64)
    expect(bench.drain()).toEqual([
      { cookie: 100, written: 64 },
      { cookie: 101, written: 64 },
    ])
    expect([bench.queue.stats.lengthsClamped, bench.queue.broken]).toEqual([1, undefined])
  })

  it.each(['strict', 'tolerant'] as const)(
    '§ 2.8.4: %s: without WRITE a length that cannot be is none, and one that can be is taken, as QEMU means it',
    (trust) => {
      const bench = running({ trust })
      bench.device.putUsed(bench.ids[0]!, 65, false)
      bench.device.putUsed(bench.ids[1]!, 33, false)
      expect(bench.drain()).toEqual([
        { cookie: 100, written: 0 },
        { cookie: 101, written: 33 },
      ])
      expect([bench.queue.stats.lengthsClamped, bench.queue.broken]).toEqual([1, undefined])
    },
  )

  it('D5: behind a length that breaks the queue nothing is returned, and reset gives those back', () => {
    const bench = running()
    bench.device.putUsed(bench.ids[0]!, 1)
    bench.device.putUsed(bench.ids[1]!, 65)
    bench.device.putUsed(bench.ids[2]!, 3)
    expectBroken(bench, 'ring.length', [{ cookie: 100, written: 1 }])
    expect([bench.queue.inFlight, ...bench.queue.reset()]).toEqual([3, 101, 102, 103])
  })

  it('D1: D5: of two violations the first one counts', () => {
    const bench = running()
    bench.device.putUsed(bench.ids[0]!, 65)
    bench.device.putUsed(0xffff, 0)
    expectBroken(bench, 'ring.length')
  })

  it.each(['strict', 'tolerant'] as const)(
    'D6: %s: a length for a chain without a writable part is ignored',
    (trust) => {
      const bench = packedBench({ trust, indirect: true })
      bench.queue.addReadable(at(0), 60, 1)
      bench.queue.addChain(new ChainBuilder(2).addReadable(at(0), 12).addReadable(at(0), 60), 2)
      bench.queue.publish()
      for (const { id } of bench.device.take()) bench.device.putUsed(id, 60)
      expect(bench.drain()).toEqual([
        { cookie: 1, written: 0 },
        { cookie: 2, written: 0 },
      ])
      expect([bench.queue.stats.lengthsClamped, bench.queue.broken]).toEqual([2, undefined])
    },
  )
})

describe('PackedVirtqueue against a hostile device: shared memory', () => {
  it('D12: a used descriptor is read once: what is checked is what counts', () => {
    const reads: string[] = []
    class Flipping extends PackedDeviceArea {
      override usedWord(slot: number): number {
        return this.#once(`word ${slot}`) ? super.usedWord(slot) : 0xffff_ffff
      }
      override usedLength(slot: number): number {
        return this.#once(`length ${slot}`) ? super.usedLength(slot) : 0xffff_ffff
      }
      #once(field: string): boolean {
        reads.push(field)
        return reads.filter((read) => read === field).length === 1
      }
    }
    const bench = running({ mapDeviceArea: (bytes, offset, size) => new Flipping(bytes, offset, size) })
    for (let i = 0; i < 3; i++) bench.device.putUsed(bench.ids[i]!, 60 + i)
    const batch = usedBatch(8)
    expect(bench.queue.popUsed(batch)).toBe(3)
    expect([...batch.cookies.subarray(0, 3)]).toEqual([100, 101, 102])
    expect([...batch.written.subarray(0, 3)]).toEqual([60, 61, 62])
    expect(reads).toEqual(['word 0', 'word 1', 'word 2', 'word 3', 'length 0', 'length 1', 'length 2'])
  })

  it('D13: what popUsed returned stays as it was, whatever the device writes afterwards', () => {
    const bench = running()
    bench.device.putUsed(bench.ids[0]!, 33)
    const batch = usedBatch(1)
    expect(bench.queue.popUsed(batch)).toBe(1)
    for (let offset = 0; offset < bench.memory.byteLength; offset += 4) bench.memory.setUint32(offset, 0xdeadbeef)
    expect([batch.cookies[0], batch.written[0]]).toEqual([100, 33])
  })

  it.each([
    [2, false, true],
    [2, true, false],
    [3, false, true],
    [3, true, true],
    [1, true, false],
    [0xfffc, true, true],
  ])(
    '§ 2.8.14: D17: device event flags %i for another descriptor, EVENT_IDX %s: notified %s',
    (flags, eventIdx, notified) => {
      const bench = packedBench({ eventIdx })
      bench.device.setEvents(flags, new Cursor(8, 5))
      bench.queue.addWritable(at(0), 1, 0)
      bench.queue.publish()
      expect(bench.notifications).toBe(notified ? 1 : 0)
    },
  )

  it('D17: garbage in the device area costs notifications at most: notifyAlways gets everything through', () => {
    for (const eventIdx of [false, true]) {
      let random = 12345
      const bench = packedBench({ eventIdx, size: 7 })
      let done = 0
      for (let round = 0; round < 500; round++) {
        random = (random * 1103515245 + 12345) % 2 ** 31
        bench.memory.setUint32(bench.device.ring.deviceArea, random, true)
        for (let i = 0; i < 1 + (round % 7); i++) expect(bench.queue.addWritable(at(0), 1, i)).toBe(true)
        const { notifications } = bench
        bench.queue.publish()
        if (bench.notifications === notifications) bench.queue.notifyAlways()
        expect(bench.notifications).toBe(notifications + 1)
        for (const { id } of bench.device.take()) bench.device.putUsed(id, 1)
        done += bench.drain().length
        expect(bench.queue.inFlight).toBe(0)
      }
      expect([done, bench.queue.broken]).toEqual([1994, undefined])
    }
  })
})
