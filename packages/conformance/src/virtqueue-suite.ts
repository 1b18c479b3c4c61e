import type { DeviceAddress, DmaRegion } from '@virtio-ts/memory'
import { VirtioError } from '@virtio-ts/spec'
import { ChainBuilder, usedBatch } from '@virtio-ts/virtqueue'
import { afterEach, describe, expect, it } from 'vitest'
import { VirtqueueBench, type VirtqueueSetup, type VirtqueueUnderTest } from './virtqueue-bench.ts'
import { virtqueueLanes } from './virtqueue-lane-suite.ts'

export interface VirtqueueSuiteOptions {
  /** Makes a queue with notifications of used buffers asked for, and a device side that wants notifications. */
  create(setup: VirtqueueSetup): VirtqueueUnderTest
  /** Other sizes, from 2 on, at which a queue fills and goes round. @defaultValue none */
  readonly sizes?: readonly number[]
  /** The features that a legacy queue cannot have. @defaultValue true */
  readonly modern?: boolean
}

/** The `Virtqueue` contract as tests: the same for every ring format, with any device on the other side. */
export function virtqueueSuite(name: string, options: VirtqueueSuiteOptions): void {
  for (const features of combinations(options.modern ?? true)) {
    const { eventIdx, inOrder, notificationData } = features
    const names = Object.entries(features).flatMap(([feature, on]) => (on ? [feature] : []))
    describe(`${name}: Virtqueue contract, ${names.join(', ') || 'no features'}`, () => {
      const open: VirtqueueUnderTest[] = []
      afterEach(() => {
        for (const made of open.splice(0)) made.close?.()
      })
      const bench = (setup: Partial<VirtqueueSetup> = {}): VirtqueueBench => {
        const made = options.create({ size: 8, trust: 'strict', ...features, ...setup })
        open.push(made)
        return new VirtqueueBench(made, inOrder)
      }
      // It takes a while, and depends on neither feature.
      const long = features.indirect === eventIdx && !notificationData
      supply(bench)
      use(bench)
      if (inOrder) useInOrder(bench)
      fill(bench, 4)
      longest(bench, 8)
      for (const size of options.sizes ?? []) {
        fill(bench, size)
        longest(bench, size)
        if (long) longRun(bench, size)
      }
      if (long) longRun(bench, 8)
      notifications(bench, eventIdx)
      violations(bench)
      virtqueueLanes(bench)
    })
  }
}

type Features = Pick<VirtqueueSetup, 'indirect' | 'eventIdx' | 'inOrder' | 'notificationData'>

function combinations(modern: boolean): Features[] {
  let all: Features[] = [{ indirect: false, eventIdx: false, inOrder: false, notificationData: false }]
  const names = ['indirect', 'eventIdx', ...(modern ? (['inOrder', 'notificationData'] as const) : [])] as const
  for (const name of names) all = all.flatMap((features) => [features, { ...features, [name]: true }])
  return all
}

type MakeBench = (setup?: Partial<VirtqueueSetup>) => VirtqueueBench

function supply(bench: MakeBench): void {
  it('the device sees nothing before publish, then every chain, whole and in order', () => {
    const { queue, device, region, address } = bench()
    const chain = new ChainBuilder(4)
    chain
      .addReadable(address, 16)
      .addReadable(at(region, 16), 100)
      .addWritable(at(region, 512), 1000)
      .addWritable(at(region, 2000), 1)
    expect(queue.addReadable(address, 60, 1)).toBe(true)
    expect(queue.addChain(chain, 2)).toBe(true)
    expect(queue.addWritable(at(region, 1024), 1526, 3)).toBe(true)
    expect(device.takeAvailable()).toEqual([])
    queue.publish()
    expect(device.takeAvailable().map(({ buffers }) => buffers)).toEqual([
      [{ address, length: 60, writable: false }],
      [
        { address, length: 16, writable: false },
        { address: address + 16, length: 100, writable: false },
        { address: address + 512, length: 1000, writable: true },
        { address: address + 2000, length: 1, writable: true },
      ],
      [{ address: address + 1024, length: 1526, writable: true }],
    ])
    queue.publish()
    expect(device.takeAvailable()).toEqual([])
    expect(queue.inFlight).toBe(3)
  })
}

function fill(bench: MakeBench, size: number): void {
  it(`takes chains until it is full, and again as soon as one came back: ${size} descriptors`, () => {
    const test = bench({ size })
    const { queue, device, address } = test
    for (let i = 0; i < size; i++) {
      expect(queue.free).toBe(size - i)
      expect(queue.addWritable(address, 64, i)).toBe(true)
    }
    expect(queue.addWritable(address, 64, 9)).toBe(false)
    expect(queue.addChain(new ChainBuilder(1).addReadable(address, 1), 9)).toBe(false)
    queue.publish()
    expect(queue.addReadable(address, 64, 9)).toBe(false)
    const first = test.inOrder ? 0 : 1
    device.putUsed(device.takeAvailable()[first]!.id, 3)
    expect(test.drain()).toEqual([[first, 3]])
    expect(queue.addReadable(address, 64, 9)).toBe(true)
    expect(queue.addReadable(address, 64, 9)).toBe(false)
  })
}

function longest(bench: MakeBench, size: number): void {
  it(`takes chains of up to maxChain buffers, and no longer ones: ${size} descriptors`, () => {
    const { queue, device, address } = bench({ size })
    const chain = new ChainBuilder(queue.maxChain + 1)
    for (let i = 0; i < queue.maxChain; i++) chain.addReadable(address, 1 + i)
    expect(queue.addChain(chain, 0)).toBe(true)
    queue.publish()
    expect(device.takeAvailable()[0]!.buffers.map(({ length }) => length)).toEqual(
      Array.from({ length: queue.maxChain }, (_, i) => 1 + i),
    )
    expect(() => queue.addChain(chain.addReadable(address, 1), 0)).toThrow(RangeError)
    expect(() => queue.addChain(chain.clear(), 0)).toThrow(RangeError)
    expect(() => queue.addReadable(address, 0, 0)).toThrow(RangeError)
  })
}

function use(bench: MakeBench): void {
  it('gives back cookies and written lengths in the order of use', () => {
    const test = bench()
    const { queue, device } = test
    const chains = test.send(5)
    expect(queue.hasUsed()).toBe(false)
    const order = test.inOrder ? [0, 1, 2] : [3, 0, 4]
    for (const i of order) device.putUsed(chains[i]!.id, 10 * i)
    expect(queue.hasUsed()).toBe(true)
    expect(test.drain(2)).toEqual(order.map((i) => [i, 10 * i]))
    expect(queue.stats).toMatchObject({ added: 5, used: 3, inFlight: 2 })
  })

  it('D11: goes by its own books when the device writes over the ring', () => {
    const test = bench()
    if (test.device.scribble === undefined) return
    for (let round = 0; round < 20; round++) {
      const chains = test.send(1 + (round % 4), 2)
      test.device.scribble()
      const order = chains.map((_, i) => (test.inOrder ? i : chains.length - 1 - i))
      for (const i of order) test.device.putUsed(chains[i]!.id, 7)
      expect(test.drain().map(([cookie]) => cookie)).toEqual(order)
    }
    expect([test.queue.broken, test.queue.free]).toEqual([undefined, 8])
  })
}

function useInOrder(bench: MakeBench): void {
  it.each([1, 2, 3, 8])(
    'takes one element for a batch: those skipped were used completely; %i at a time',
    (capacity) => {
      const test = bench({ size: 16 })
      const { device, queue } = test
      for (let round = 0; round < 30; round++) {
        const chains = test.send(5, 1 + (round % 2)).map(({ id }) => id)
        device.putUsedBatch(chains.slice(0, 3), 30)
        expect(queue.hasUsed()).toBe(true)
        device.putUsedBatch(chains.slice(3), 4)
        expect(test.drain(capacity)).toEqual([
          [0, 64],
          [1, 64],
          [2, 30],
          [3, 64],
          [4, 4],
        ])
      }
      expect([queue.broken, queue.inFlight, queue.free]).toEqual([undefined, 0, 16])
      expect(queue.stats).toMatchObject({ added: 150, used: 150 })
    },
  )

  it('has used buffers for as long as a batch is not given back whole, and asks for the next notification then', () => {
    const test = bench()
    const chains = test.send(4).map(({ id }) => id)
    test.device.putUsedBatch(chains.slice(0, 3), 1)
    const batch = usedBatch(2)
    expect(test.queue.popUsed(batch)).toBe(2)
    expect([test.queue.hasUsed(), test.queue.enableUsedNotifications(), test.queue.inFlight]).toEqual([true, true, 2])
    expect(test.queue.popUsed(batch)).toBe(1)
    expect([test.queue.hasUsed(), test.queue.popUsed(batch)]).toEqual([false, 0])
    expect(test.device.putUsed(chains[3]!, 1)).toBe(true)
    expect(test.drain()).toEqual([[3, 1]])
  })

  it('takes no chain of a batch back twice', () => {
    const test = bench()
    const chains = test.send(5).map(({ id }) => id)
    test.device.putUsedBatch(chains.slice(0, 3), 1)
    test.device.putUsed(chains[1]!, 1)
    test.expectBroken(
      [
        [0, 64],
        [1, 64],
        [2, 1],
      ],
      'ring.not-head',
    )
  })
}

function longRun(bench: MakeBench, size: number): void {
  it(`goes on for more than 65536 chains: ${size} descriptors`, () => {
    const test = bench({ size })
    const { queue, device, address } = test
    const chain = new ChainBuilder(2).addReadable(address, 4).addWritable(address, 64)
    const batch = usedBatch(size)
    let wrong = 0
    let sent = 0
    while (sent < 70_000) {
      const first = sent
      while (sent % 2 === 0 ? queue.addWritable(address, 64, sent) : queue.addChain(chain, sent)) sent++
      queue.publish()
      const ids = device.takeAvailable().map(({ id }) => id)
      if (!test.inOrder) ids.push(...ids.splice(0, sent % ids.length))
      if (test.inOrder && sent % 3 === 0) device.putUsedBatch(ids, 1)
      else for (const id of ids) device.putUsed(id, 1)
      const count = queue.popUsed(batch)
      if (count !== sent - first) wrong++
      if (count === 0) break
      const cookies = [...batch.cookies.subarray(0, count)].sort((a, b) => a - b)
      if (cookies.some((cookie, i) => cookie !== first + i)) wrong++
    }
    expect([wrong, queue.broken, queue.inFlight, queue.free]).toEqual([0, undefined, 0, size])
  })
}

function notifications(bench: MakeBench, eventIdx: boolean): void {
  it('notifies the device once per publish, unless it asked not to', () => {
    const test = bench()
    const { queue, device } = test
    const publish = (count: number): number => {
      test.send(count)
      return device.notifications
    }
    device.requestNotification()
    expect(publish(3)).toBe(1)
    queue.publish()
    expect(device.notifications).toBe(1)
    device.suppressNotifications()
    expect(publish(1)).toBe(1)
    device.requestNotification()
    expect(publish(1)).toBe(2)
    device.suppressNotifications()
    queue.notifyAlways()
    expect(device.notifications).toBe(3)
    expect(queue.stats).toMatchObject({ notificationsSent: 3, notificationsSuppressed: 1 })
  })

  if (eventIdx) {
    it.each([0, 1, 2, 3, 4, 5])(
      'with EVENT_IDX notifies of a batch of 3 exactly if it has the chain asked for: %i on',
      (after) => {
        const test = bench()
        test.device.requestNotification(after)
        test.send(3)
        expect(test.device.notifications).toBe(after < 3 ? 1 : 0)
        test.send(3)
        expect(test.device.notifications).toBe(1)
      },
    )
  }

  it('asks for used buffer notifications until told otherwise, and says what was used meanwhile', () => {
    const test = bench()
    const { queue, device } = test
    const chains = test.send(6)
    expect(device.putUsed(chains[0]!.id, 0)).toBe(true)
    expect(test.drain()).toHaveLength(1)
    expect(device.putUsed(chains[1]!.id, 0)).toBe(true)
    expect(test.drain()).toHaveLength(1)
    queue.disableUsedNotifications()
    expect(device.putUsed(chains[2]!.id, 0)).toBe(false)
    expect(queue.enableUsedNotifications()).toBe(true)
    expect(test.drain()).toHaveLength(1)
    expect(queue.enableUsedNotifications()).toBe(false)
    expect(device.putUsed(chains[3]!.id, 0)).toBe(true)
    expect(test.drain()).toHaveLength(1)
  })

  it('D20: a notification without anything used is nothing', () => {
    const test = bench()
    test.send(1)
    expect(test.drain()).toEqual([])
    expect([test.queue.broken, test.queue.inFlight]).toEqual([undefined, 1])
  })
}

function violations(bench: MakeBench): void {
  it.each([8, 9, 0x7fff, 0xffff])('D1: id %i in a queue of 8 breaks it', (id) => {
    const test = bench()
    test.send(2)
    test.device.putUsed(id, 0)
    test.expectBroken([], 'ring.id-range')
  })

  it('D2: an id that is right in its lower 16 bits only breaks the queue', () => {
    const test = bench()
    if (test.device.idBits === 16) return
    const chains = test.send(2)
    test.device.putUsed(chains[0]!.id + 0x10000, 0)
    test.expectBroken([], 'ring.id-range')
  })

  it('D3: an id the device does not hold breaks the queue', () => {
    const test = bench()
    const held = new Set(test.send(3).map(({ id }) => id))
    test.device.putUsed([0, 1, 2, 3, 4, 5, 6, 7].find((id) => !held.has(id))!, 0)
    test.expectBroken([], 'ring.not-head')
  })

  it('D4: an id returned twice counts once, then breaks the queue', () => {
    const test = bench()
    const chains = test.send(3)
    const first = test.inOrder ? 0 : 1
    test.device.putUsed(chains[first]!.id, 5)
    test.device.putUsed(chains[first]!.id, 5)
    test.expectBroken([[first, 5]], 'ring.not-head')
  })

  it.each([65, 0x80000000, 0xffffffff])('D5: %i bytes written into 64 break a strict queue', (written) => {
    const test = bench()
    test.device.putUsed(test.send(1)[0]!.id, written)
    test.expectBroken([], 'ring.length')
  })

  it('D5: and are cut and counted by a tolerant one', () => {
    const test = bench({ trust: 'tolerant' })
    const chains = test.send(2)
    test.device.putUsed(chains[0]!.id, 0xffffffff)
    test.device.putUsed(chains[1]!.id, 64)
    expect(test.drain()).toEqual([
      [0, 64],
      [1, 64],
    ])
    expect([test.queue.broken, test.queue.stats.lengthsClamped]).toEqual([undefined, 1])
  })

  it('D6: a length for a chain without a writable part is ignored', () => {
    const test = bench()
    const { queue, device, address } = test
    queue.addReadable(address, 60, 7)
    queue.publish()
    device.putUsed(device.takeAvailable()[0]!.id, 60)
    expect(test.drain()).toEqual([[7, 0]])
    expect(queue.broken).toBeUndefined()
  })

  it.each([3, 100, 0x8000, 0xffff])('D9: an index %i ahead with 2 chains out breaks the queue', (jump) => {
    const test = bench()
    test.send(2)
    if (test.device.jumpUsed === undefined) return
    test.device.jumpUsed(jump)
    test.expectBroken([], 'ring.idx-jump')
  })

  it('fail breaks it from outside, once', () => {
    const test = bench()
    const told: VirtioError[] = []
    test.queue.onBroken((error) => told.push(error))
    test.device.putUsed(test.send(1)[0]!.id, 0)
    const gone = new VirtioError('device.gone', 'The device is gone.')
    test.queue.fail(gone)
    test.queue.fail(new VirtioError('device.gone', 'Twice.'))
    expect(told).toEqual([gone])
    test.expectBroken([], 'device.gone')
  })
}

const at = (region: DmaRegion, offset: number): DeviceAddress => (region.deviceAddress + offset) as DeviceAddress
