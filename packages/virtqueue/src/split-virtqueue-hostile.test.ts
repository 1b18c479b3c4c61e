import { describe, expect, it } from 'vitest'
import { at, type BenchOptions, type RingBench, ringBench } from './testing/ring-bench.ts'
import { uncaughtExceptions } from './testing/uncaught-exceptions.ts'
import { ChainBuilder } from './chain-builder.ts'
import { DeviceArea } from './device-area.ts'
import { usedBatch } from './virtqueue.ts'

/** A ring with `count` writable chains of 64 bytes out, taken by the device; cookies 100 and up. */
function running(options: BenchOptions = {}, count = 4): RingBench & { ids: number[] } {
  const bench = ringBench(options)
  for (let i = 0; i < count; i++) bench.queue.addWritable(at(64 * i), 64, 100 + i)
  bench.queue.publish()
  return Object.assign(bench, { ids: bench.device.take().map(({ id }) => id) })
}

function expectBroken({ queue, broken, drain }: RingBench, code: string): void {
  expect(drain()).toEqual([])
  expectStopped(queue, broken, code)
}

function expectStopped(queue: RingBench['queue'], broken: RingBench['broken'], code: string): void {
  expect(broken.map((error) => error.code)).toEqual([code])
  expect(queue.broken).toBe(broken[0])
  expect(queue.broken?.details).toMatchObject({ queue: 3, device: 'bench', generation: 1 })
  expect(queue.popUsed(usedBatch(4))).toBe(0)
  expect(queue.hasUsed()).toBe(false)
  expect(queue.addReadable(at(0), 1, 0)).toBe(false)
  expect(queue.addWritable(at(0), 1, 0)).toBe(false)
  expect(queue.addChain(new ChainBuilder(1).addReadable(at(0), 1), 0)).toBe(false)
  expect(queue.free).toBe(0)
  expect(queue.enableUsedNotifications()).toBe(false)
  expect(broken).toHaveLength(1)
}

describe('SplitVirtqueue against a hostile device: ids', () => {
  const sizes = Array.from({ length: 16 }, (_, n) => 2 ** n)

  it.each(sizes)('D1: in a ring of %i every id beyond the descriptors breaks the queue', (size) => {
    const beyond = new Set([size, size + 1, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff])
    const bench = ringBench({ size, memoryLength: 1 << 21 })
    for (const id of beyond) {
      if (id < size) continue
      bench.queue.reset()
      bench.broken.length = 0
      bench.queue.addWritable(at(0), 64, 1)
      bench.queue.publish()
      bench.device.usedIndex = 0
      bench.device.putUsed(id, 0)
      expectBroken(bench, 'ring.id-range')
      expect(bench.broken[0]?.details.detail).toEqual({ id, size })
    }
  })

  it('D2: id aliasing head by 65536 breaks the queue', () => {
    for (let i = 0; i < 4; i++) {
      for (const k of [1, 2, 0x7fff, 0x8000, 0xffff]) {
        const bench = running()
        bench.device.putUsed(bench.ids[i]! + k * 65536, 0)
        expectBroken(bench, 'ring.id-range')
      }
    }
  })

  it.each([
    ['on the free list', 6],
    ['in the middle of a chain', 1],
    ['added, but not yet published', 4],
  ])('D3: the id of a descriptor %s breaks the queue', (_, id) => {
    const bench = ringBench()
    const chain = new ChainBuilder(4)
      .addReadable(at(0), 1)
      .addReadable(at(0), 1)
      .addWritable(at(0), 1)
      .addWritable(at(0), 1)
    bench.queue.addChain(chain, 7)
    bench.queue.publish()
    bench.queue.addWritable(at(0), 1, 8)
    expect(bench.device.take().map((taken) => taken.id)).toEqual([0])
    bench.device.putUsed(id, 0)
    expectBroken(bench, 'ring.not-head')
  })

  it('D3: nothing can be returned of a ring that nothing was published to', () => {
    const bench = ringBench()
    bench.queue.addWritable(at(0), 1, 8)
    bench.device.putUsed(0, 0)
    expectBroken(bench, 'ring.idx-jump')
  })

  it.each([1, 32])('D4: an id returned twice counts once, then breaks the queue (batches of %i)', (batch) => {
    const bench = running()
    bench.device.putUsed(bench.ids[2]!, 5)
    bench.device.putUsed(bench.ids[2]!, 5)
    expect(bench.drain(batch)).toEqual([{ cookie: 102, written: 5 }])
    expectStopped(bench.queue, bench.broken, 'ring.not-head')
  })

  it('D4: an id returned again after its descriptor was added anew counts only once that is published', () => {
    for (const published of [false, true]) {
      const bench = running()
      const id = bench.ids[2]!
      bench.device.putUsed(id, 5)
      expect(bench.drain()).toEqual([{ cookie: 102, written: 5 }])
      expect(bench.queue.addWritable(at(0), 64, 200)).toBe(true)
      if (published) bench.queue.publish()
      bench.device.putUsed(id, 6)
      expect(bench.drain()).toEqual(published ? [{ cookie: 200, written: 6 }] : [])
      expect(bench.queue.broken?.code).toBe(published ? undefined : 'ring.not-head')
    }
  })

  it('what was used before the violation is still returned, by the call that finds it', () => {
    const bench = running()
    const batch = usedBatch(8)
    let returnedWhenTold = -1
    bench.queue.onBroken(() => {
      returnedWhenTold = bench.queue.stats.used
    })
    bench.device.putUsed(bench.ids[0]!, 1)
    bench.device.putUsed(bench.ids[1]!, 2)
    bench.device.putUsed(77, 3)
    bench.device.putUsed(bench.ids[2]!, 4)
    expect(bench.queue.popUsed(batch)).toBe(2)
    expect([...batch.cookies.subarray(0, 2)]).toEqual([100, 101])
    expect(returnedWhenTold).toBe(2)
    expectStopped(bench.queue, bench.broken, 'ring.id-range')
    expect([...bench.queue.reset()]).toEqual([102, 103])
  })
})

describe('SplitVirtqueue against a hostile device: lengths', () => {
  const tooLong = [65, 128, 0x7fffffff, 0x80000000, 0xffffffff]
  for (const legacy of [false, true]) {
    it.each(tooLong)(
      `D5: strict: a written length of %i for 64 bytes breaks the queue (legacy ${legacy})`,
      (written) => {
        const bench = running({ legacy, trust: 'strict' })
        bench.device.putUsed(bench.ids[0]!, written)
        expectBroken(bench, 'ring.length')
        expect(bench.broken[0]?.details.detail).toEqual({ id: bench.ids[0], written, capacity: 64 })
      },
    )

    it.each(tooLong)(
      `D5: tolerant: a written length of %i for 64 bytes is cut and counted (legacy ${legacy})`,
      (written) => {
        const bench = running({ legacy, trust: 'tolerant' })
        bench.device.putUsed(bench.ids[0]!, written)
        bench.device.putUsed(bench.ids[1]!, 64)
        expect(bench.drain()).toEqual([
          { cookie: 100, written: 64 },
          { cookie: 101, written: 64 },
        ])
        expect([bench.queue.stats.lengthsClamped, bench.queue.broken]).toEqual([1, undefined])
      },
    )
  }

  it('D5: only the writable part counts as capacity, all of it', () => {
    for (const indirect of [false, true]) {
      for (const written of [48, 49]) {
        const bench = ringBench({ indirect })
        bench.queue.addChain(
          new ChainBuilder(3).addReadable(at(0), 1000).addWritable(at(0), 16).addWritable(at(0), 32),
          1,
        )
        bench.queue.publish()
        bench.device.putUsed(bench.device.take()[0]!.id, written)
        expect(bench.drain()).toEqual(written === 48 ? [{ cookie: 1, written }] : [])
        expect(bench.queue.broken?.code).toBe(written === 48 ? undefined : 'ring.length')
      }
    }
  })

  it.each(['strict', 'tolerant'] as const)(
    'D6: %s: a length for a chain without a writable part is ignored',
    (trust) => {
      const bench = ringBench({ trust, indirect: true })
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

  it.each([0, 1, 11])('D7: D8: a length of %i, however short, is what the driver gets', (written) => {
    const bench = running()
    bench.device.putUsed(bench.ids[1]!, written)
    expect(bench.drain()).toEqual([{ cookie: 101, written }])
  })
})

describe('SplitVirtqueue against a hostile device: the index', () => {
  it('D9: a used idx more than what is in flight ahead, or backwards, breaks the queue, wherever the index stands', () => {
    for (let start = 0xfff0; start <= 0x1000f; start++) {
      for (const jump of [3, 4, 9, 100, 0x7fff, 0x8000, 0xfff7, 0xffff]) {
        const bench = running({ startIndex: start & 0xffff }, 2)
        bench.device.writeElement(start & 0xffff, bench.ids[0]!, 0)
        bench.device.writeElement((start + 1) & 0xffff, bench.ids[1]!, 0)
        bench.device.moveUsedIndex((start + jump) & 0xffff)
        expectBroken(bench, 'ring.idx-jump')
        expect(bench.broken[0]?.details.detail).toEqual({ jump, outstanding: 2 })
      }
    }
  })

  it('D9: chains that are added but not published are not in flight', () => {
    const bench = running({}, 2)
    bench.queue.addWritable(at(0), 1, 0)
    bench.device.moveUsedIndex(3)
    expectBroken(bench, 'ring.idx-jump')
  })

  it('D23: a completion that comes after a reset breaks the queue instead of returning a buffer twice', () => {
    const bench = running()
    expect([...bench.queue.reset()]).toEqual([100, 101, 102, 103])
    bench.device.moveUsedIndex(0)
    bench.device.putUsed(bench.ids[0]!, 64)
    expectBroken(bench, 'ring.idx-jump')
  })

  it('D20: a used element before anything was made available never surfaces', () => {
    const bench = ringBench()
    bench.device.putUsed(0, 0)
    expectBroken(bench, 'ring.idx-jump')
  })
})

describe('SplitVirtqueue against a hostile device: shared memory', () => {
  it.each([false, true])(
    'D11: whatever it writes over descriptors, tables and the available ring changes nothing (indirect %s)',
    (indirect) => {
      const scribbled = play(indirect, true)
      expect(scribbled).toEqual(play(indirect, false))
      expect(scribbled.at(-1)).toEqual([undefined, 8, 0])

      function play(withTables: boolean, scribble: boolean): unknown[] {
        const bench = ringBench({ indirect: withTables, indirectCapacity: 4, memoryLength: 1 << 14 })
        const { queue, device, memory, base } = bench
        const deviceArea = queue.addresses.deviceArea - base
        const chain = new ChainBuilder(3)
        const log: unknown[] = []
        let byte = 1
        const damage = () => {
          if (!scribble) return
          for (let offset = 0; offset < memory.byteLength; offset++) {
            byte = (byte * 75 + 74) % 65537
            if (offset < deviceArea || offset >= deviceArea + 6 + 8 * 8) memory.setUint8(offset, byte)
          }
        }
        for (let round = 0; round < 40; round++) {
          const ids: number[] = []
          for (let i = 0; i < 1 + (round % 3); i++) {
            chain.clear().addReadable(at(64), 8)
            for (let k = 0; k < (round + i) % 3; k++) chain.addWritable(at(128), 100)
            // Damage from before must not show: the device has to find each chain as it was added.
            if (queue.addChain(chain, 10 * round + i)) queue.publish()
            device.nextAvailable = (device.availableIndex + 0xffff) & 0xffff
            ids.push(
              ...device.take().map(({ id, buffers }) => {
                log.push(buffers)
                return id
              }),
            )
            damage()
          }
          for (const id of ids.reverse()) device.putUsed(id, 0)
          damage()
          log.push(bench.drain(2))
          damage()
        }
        log.push([queue.broken?.message, queue.free, queue.inFlight])
        return log
      }
    },
  )

  it('D12: a used element is read once: what is checked is what counts', () => {
    const reads: string[] = []
    const second = { id: 0xffff, length: 0xffffffff }
    class Flipping extends DeviceArea {
      override usedId(slot: number): number {
        return this.#once(`id ${slot}`) ? super.usedId(slot) : second.id
      }
      override usedLength(slot: number): number {
        return this.#once(`length ${slot}`) ? super.usedLength(slot) : second.length
      }
      override usedIndex(): number {
        return this.#once('index') ? super.usedIndex() : 0x5555
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
    expect(reads).toEqual(['index', 'id 0', 'length 0', 'id 1', 'length 1', 'id 2', 'length 2'])
  })

  it('D13: what popUsed returned stays as it was, whatever the device writes afterwards', () => {
    const bench = running()
    bench.device.putUsed(bench.ids[0]!, 33)
    const batch = usedBatch(1)
    expect(bench.queue.popUsed(batch)).toBe(1)
    for (let offset = 0; offset < bench.memory.byteLength; offset += 4) bench.memory.setUint32(offset, 0xdeadbeef)
    expect([batch.cookies[0], batch.written[0]]).toEqual([100, 33])
  })

  it('D17: garbage in avail_event and flags costs notifications at most: notifyAlways gets everything through', () => {
    for (const eventIdx of [false, true]) {
      let random = 12345
      const bench = ringBench({ eventIdx, startIndex: 0xff00 })
      let done = 0
      for (let round = 0; round < 2000; round++) {
        random = (random * 1103515245 + 12345) % 2 ** 31
        bench.device.availEvent = random & 0xffff
        bench.device.usedFlags = random >>> 15
        const count = 1 + (round % 8)
        for (let i = 0; i < count; i++) expect(bench.queue.addWritable(at(0), 1, i)).toBe(true)
        const { notifications } = bench
        bench.queue.publish()
        if (bench.notifications === notifications) bench.queue.notifyAlways()
        expect(bench.notifications).toBe(notifications + 1)
        for (const { id } of bench.device.take()) bench.device.putUsed(id, 1)
        done += bench.drain().length
        expect(bench.queue.inFlight).toBe(0)
      }
      expect([done, bench.queue.broken]).toEqual([9000, undefined])
    }
  })
})

describe('SplitVirtqueue: breaking', () => {
  it('fail breaks it from outside, once', () => {
    const bench = running()
    const other = ringBench()
    other.device.moveUsedIndex(5)
    other.drain()
    const reason = other.queue.broken!
    const told: string[] = []
    bench.queue.onBroken(({ code }) => told.push(code))
    bench.queue.fail(reason)
    bench.queue.fail(reason)
    bench.queue.onBroken(({ code }) => told.push(`late ${code}`))
    expect(told).toEqual(['ring.idx-jump', 'late ring.idx-jump'])
    expect(bench.broken).toEqual([reason])
    bench.device.putUsed(bench.ids[0]!, 0)
    bench.queue.addWritable(at(0), 1, 0)
    const { notifications } = bench
    bench.queue.publish()
    bench.queue.notifyAlways()
    expect([bench.drain(), bench.notifications]).toEqual([[], notifications])
  })

  it('a broken queue publishes nothing of what was added', () => {
    const bench = running()
    bench.queue.addWritable(at(0), 1, 0)
    bench.device.moveUsedIndex(99)
    bench.drain()
    bench.queue.publish()
    bench.queue.disableUsedNotifications()
    expect([bench.device.availableIndex, bench.device.availableFlags]).toEqual([4, 0])
  })

  it('a listener added by a listener is called once', () => {
    const bench = running()
    let calls = 0
    bench.queue.onBroken(() => bench.queue.onBroken(() => calls++))
    bench.device.moveUsedIndex(99)
    bench.drain()
    expect(calls).toBe(1)
  })

  it('what a listener throws reaches neither the caller nor the other listeners, but is not lost', async () => {
    const bench = running()
    const told: string[] = []
    bench.queue.onBroken(() => {
      throw new Error('from a listener')
    })
    bench.queue.onBroken(({ code }) => told.push(code))
    bench.device.moveUsedIndex(99)
    const uncaught = uncaughtExceptions(1)
    expect(bench.drain()).toEqual([])
    expect(told).toEqual(['ring.idx-jump'])
    expect(await uncaught).toMatchObject([{ message: 'from a listener' }])
  })

  it('a listener may reset the queue at once', () => {
    const bench = running()
    bench.queue.onBroken(() => bench.queue.reset())
    bench.device.putUsed(bench.ids[0]!, 1)
    bench.device.putUsed(0xffff, 1)
    expect(bench.queue.popUsed(usedBatch(4))).toBe(1)
    expect([bench.queue.broken, bench.queue.free, bench.queue.inFlight]).toEqual([undefined, 8, 0])
  })
})
