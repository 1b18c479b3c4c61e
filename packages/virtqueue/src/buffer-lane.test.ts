import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NaivePackedDevice } from './testing/naive-packed-device.ts'
import { type LaneConfig, LanePlay, type LaneStep, laneConfig, laneSteps } from './testing/lane-play.ts'
import { at } from './testing/ring-bench.ts'
import { VirtioError } from '@virtio-ts/spec'
import { DeviceArea } from './device-area.ts'
import { PackedDeviceArea } from './packed-device-area.ts'
import { usedBatch } from './virtqueue.ts'

const ROW = { address: at(1 << 20), stride: 128, length: 100, count: 4 }
const BASE: LaneConfig = {
  format: 'split',
  inOrder: false,
  writable: true,
  size: 4,
  count: 4,
  eventIdx: false,
  strict: true,
  startIndex: 0,
  address: 1 << 20,
}
const formats = ['split', 'packed'] as const
const kinds = formats.flatMap((format) => [
  { format, inOrder: false },
  { format, inOrder: true },
])

/** A lane with all of its buffers out; the device has used so many, the driver taken them. */
function running(change: Partial<LaneConfig>, back = 0): LanePlay {
  const play = new LanePlay({ ...BASE, ...change })
  const { count, writable } = play.config
  for (let i = 0; i < count; i++) {
    const step: LaneStep[] = writable
      ? [{ do: 'renew', pick: 1 }]
      : [{ do: 'reserve' }, { do: 'add', pick: 0, length: 60, elsewhere: false }]
    for (const each of step) play.run(each)
  }
  play.run({ do: 'publish' })
  for (let i = 0; i < back; i++) play.run({ do: 'use', pick: 0, chains: 0, length: 7 })
  if (back > 0) play.run({ do: 'pop', batch: back })
  return play
}

/** All that is left to take, by either way. */
function take(play: LanePlay): number {
  if (!play.config.writable) return play.lane.reclaim()
  return play.lane.pop(usedBatch(8))
}

function expectBroken(play: LanePlay, code: string): void {
  const { queue, broken } = play.bench
  expect(broken.map((error) => error.code)).toEqual([code])
  expect(queue.broken).toBe(broken[0])
  expect([take(play), play.lane.reserve(), queue.hasUsed(), queue.free]).toEqual([0, -1, false, 0])
  expect(play.lane.add(0, 1)).toBe(false)
  play.lane.renew(4)
  play.lane.publish()
  play.lane.cancel(0)
}

describe('a lane', () => {
  it('does with any device what a naive device and a naive driver do', () => {
    let moved = 0
    fc.assert(
      fc.property(laneConfig, laneSteps, (config, steps) => {
        const play = new LanePlay(config)
        for (const step of steps) play.run(step)
        expect(play.bench.broken).toEqual([])
        moved += play.bench.queue.stats.used
        const held = [...play.used, ...play.out, ...play.added].map(({ place }) => place)
        expect(new Set(play.bench.queue.reset())).toEqual(new Set(held))
        // What was a lane is a queue again, and may become another lane.
        expect([play.lane.reserve(), play.lane.inFlight, play.lane.add(0, 1)]).toEqual([-1, 0, false])
        expect(play.bench.queue.free).toBe(config.size)
      }),
      { numRuns: 1500 },
    )
    expect(moved).toBeGreaterThan(10_000)
  })

  it('reads each field that the device writes once', () => {
    const fields: string[] = []
    class Split extends DeviceArea {
      override usedIndex(): number {
        fields.push('index')
        return super.usedIndex()
      }
      override usedId(slot: number): number {
        fields.push(`id ${slot}`)
        return super.usedId(slot)
      }
      override usedLength(slot: number): number {
        fields.push(`length ${slot}`)
        return super.usedLength(slot)
      }
    }
    class Packed extends PackedDeviceArea {
      override usedWord(slot: number): number {
        fields.push(`word ${slot}`)
        return super.usedWord(slot)
      }
      override usedLength(slot: number): number {
        fields.push(`length ${slot}`)
        return super.usedLength(slot)
      }
    }
    let reads = 0
    const once = (): void => {
      expect(fields).toEqual([...new Set(fields)])
      reads += fields.length
      fields.length = 0
    }
    fc.assert(
      fc.property(laneConfig, laneSteps, (config, steps) => {
        const play = new LanePlay(config, {
          split: (bytes, offset, size) => new Split(bytes, offset, size),
          packed: (bytes, offset, size) => new Packed(bytes, offset, size),
        })
        for (const step of steps) {
          play.run(step)
          once()
        }
      }),
      { numRuns: 100 },
    )
    expect(reads).toBeGreaterThan(1000)
  })

  it.each(formats)('writes addresses above and across 4 GiB (%s)', (format) => {
    for (const address of [5 * 2 ** 32 - 200, 2 ** 47, 2 ** 32 - 1]) running({ format, address }, 2)
  })

  it.each(kinds)('takes the queue for itself: $format, IN_ORDER $inOrder', (kind) => {
    const { bench, lane, out } = running(kind, 1)
    bench.put(out[0]!.id, 9, 1)
    expect(bench.queue.addReadable(at(0), 1, 0)).toBe(false)
    expect([bench.queue.free, bench.queue.popUsed(usedBatch(4)), bench.queue.hasUsed()]).toEqual([0, 0, true])
    expect([lane.pop(usedBatch(4)), bench.broken]).toEqual([1, []])
    expect(() => bench.queue.openReadableLane(ROW)).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    expect(() => bench.queue.transfer()).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    bench.queue.reset()
    for (const count of [0, 5, 1.5]) expect(() => bench.queue.openReadableLane({ ...ROW, count })).toThrow(RangeError)
    for (const length of [0, -1, 2 ** 32])
      expect(() => bench.queue.openReadableLane({ ...ROW, length })).toThrow(RangeError)
    expect(() => bench.queue.openReadableLane({ ...ROW, stride: 2 ** 31 })).toThrow(RangeError)
    expect(bench.queue.addReadable(at(0), 1, 0)).toBe(true)
    expect(() => bench.queue.openReadableLane(ROW)).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    bench.queue.reset()
    expect(bench.queue.openReadableLane(ROW).reserve()).toBe(0)
  })

  it.each(formats)('that has taken nothing yet does not keep its %s queue from another thread', (format) => {
    const { bench, lane } = new LanePlay({ ...BASE, format, writable: false })
    bench.queue.transfer()
    expect([lane.reserve(), lane.free, lane.reclaim()]).toEqual([-1, 0, 0])
    expect(bench.queue.openWritableLane.bind(bench.queue, ROW)).toThrow(
      expect.objectContaining({ code: 'ring.in-use' }),
    )
  })

  it.each(formats)('tells at its reset of what was added and not published, too (%s, broken)', (format) => {
    const play = running({ format, writable: false }, 2)
    play.run({ do: 'reserve' })
    play.run({ do: 'add', pick: 0, length: 1, elsewhere: false })
    play.bench.queue.fail(new VirtioError('device.gone', 'gone'))
    expect(new Set(play.bench.queue.reset())).toEqual(new Set([...play.out, ...play.added].map(({ place }) => place)))
  })
})

describe.each(kinds)('a lane against a hostile device: $format, IN_ORDER $inOrder', (kind) => {
  const { format, inOrder } = kind

  it.each([true, false])('breaks at an id beyond the ring (writable %s)', (writable) => {
    for (const id of [4, 5, 0x7fff, 0x8000, 0xffff, ...(format === 'split' ? [0x10000, 0x10001, 0xffffffff] : [])]) {
      const play = running({ ...kind, writable })
      play.bench.put(id, 0, 1)
      expect(take(play)).toBe(0)
      expectBroken(play, 'ring.id-range')
    }
  })

  it.each([true, false])('breaks at an id that is not out (writable %s), after what was used before', (writable) => {
    const play = running({ ...kind, writable }, 2)
    const [gone] = [0, 1, 2, 3].filter((id) => !play.out.some((each) => each.id === id))
    play.bench.put(play.out[0]!.id, 0, 1)
    play.bench.put(gone!, 0, 1)
    expect(take(play)).toBe(1)
    expectBroken(play, 'ring.not-head')
  })

  it.each([true, false])('breaks at an id that comes twice in one go (writable %s)', (writable) => {
    const play = running({ ...kind, writable })
    play.bench.put(play.out[0]!.id, 0, 1)
    play.bench.put(play.out[0]!.id, 0, 1)
    expect(take(play)).toBe(1)
    // With IN_ORDER it names the last of four chains, three of which are out.
    expectBroken(play, 'ring.not-head')
  })

  it.each([true, false])('breaks at more used than there are (writable %s)', (writable) => {
    const play = running({ ...kind, writable, size: 8 })
    for (const { id } of play.out) play.bench.put(id, 0, 1)
    play.bench.put(format === 'packed' && inOrder ? 4 : 0, 0, 1)
    expect(take(play)).toBe(format === 'split' ? 0 : 4)
    expectBroken(play, format === 'split' ? 'ring.idx-jump' : 'ring.not-head')
  })

  it('breaks at a length beyond the buffer, or cuts it for a device known to be careless', () => {
    for (const length of [101, 0x7fffffff, 0x80000000, 0xffffffff]) {
      const play = running(kind, 1)
      play.bench.put(play.out[0]!.id, length, 1)
      expect(take(play)).toBe(0)
      expectBroken(play, 'ring.length')
      expect(play.bench.broken[0]!.details).toMatchObject({
        detail: { id: play.out[0]!.id, written: length, capacity: 100 },
      })
      const careless = running({ ...kind, strict: false }, 1)
      careless.bench.put(careless.out[0]!.id, length, 1)
      const batch = usedBatch(4)
      expect([careless.lane.pop(batch), batch.written[0]]).toEqual([1, 100])
      expect(careless.bench.queue.stats.lengthsClamped).toBe(1)
    }
  })

  it('takes what it says it wrote to a buffer it may not write for nothing', () => {
    const play = running({ ...kind, writable: false })
    play.bench.put(play.out[0]!.id, 9, 1)
    play.bench.put(play.out[1]!.id, 9, 1)
    const batch = usedBatch(1)
    expect([play.lane.pop(batch), batch.written[0]]).toEqual([1, 0])
    expect([play.lane.reclaim(), play.bench.broken]).toEqual([1, []])
  })
})

describe.each([false, true])('a lane in a packed ring, IN_ORDER %s', (inOrder) => {
  it('takes what is no length, as WRITE says, for nothing', () => {
    for (const strict of [true, false]) {
      const play = running({ format: 'packed', inOrder, strict })
      const device = play.bench.device as NaivePackedDevice
      for (const [at, length] of [
        [0, 7],
        [1, 101],
        [2, 9],
      ] as const) {
        device.writeUsed(device.used, play.out[at]!.id, length, device.used.wrap ? 0x8080 : 0)
        device.used.skip(1)
      }
      const batch = usedBatch(8)
      expect([play.lane.pop(batch), ...batch.written.subarray(0, 3)]).toEqual([3, 7, 0, 9])
      expect([play.bench.broken, play.bench.queue.stats.lengthsClamped]).toEqual([[], 1])
    }
  })
})

describe.each(formats)('a lane with IN_ORDER: %s', (format) => {
  it('takes a batch in parts', () => {
    for (const writable of [true, false]) {
      const play = running({ format, inOrder: true, writable }, 2)
      if (writable) play.run({ do: 'renew', pick: 2 })
      play.run({ do: 'publish' })
      play.run({ do: 'use', pick: 0, chains: 7, length: 33 })
      play.run({ do: 'pop', batch: 1 })
      expect(play.bench.queue.hasUsed()).toBe(true)
      play.run(writable ? { do: 'pop', batch: 9 } : { do: 'reclaim' })
      expect(play.bench.queue.hasUsed()).toBe(false)
    }
  })

  it('breaks at a length of a batch that its last buffer has no room for', () => {
    for (const strict of [true, false]) {
      const play = running({ format, inOrder: true, strict })
      play.bench.put(play.out[0]!.id, 7, 1)
      play.bench.put(play.out[2]!.id, 101, 2)
      const batch = usedBatch(8)
      expect([play.lane.pop(batch), batch.written[0]]).toEqual([strict ? 1 : 3, 7])
      if (strict) expectBroken(play, 'ring.length')
      else expect([...batch.written.subarray(0, 3)]).toEqual([7, 100, 100])
    }
  })

  it('breaks at an id further on than what the device says is used', () => {
    for (const writable of [true, false]) {
      const play = running({ format, inOrder: true, writable, size: 8 })
      // In a packed ring nothing says how many are used, but no more than are out can be.
      play.bench.put(format === 'split' ? play.out[2]!.id : 5, 0, 2)
      expect(take(play)).toBe(0)
      expectBroken(play, format === 'split' ? 'ring.order' : 'ring.not-head')
    }
  })
})
