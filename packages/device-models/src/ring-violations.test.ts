import { heapDma } from '@virtio-ts/memory/heap'
import { describe, expect, it } from 'vitest'
import { HandQueue } from '../test-support/hand-queue.ts'
import { DeviceMemory } from './device-memory.ts'
import { DeviceSplitRing, type DeviceSplitRingOptions } from './device-split-ring.ts'

function setUp(options: Partial<DeviceSplitRingOptions> = {}, before?: (queue: HandQueue) => void) {
  const dma = heapDma(1 << 20, { deviceAddress: 0x100000 })
  const memory = DeviceMemory.of(dma)
  const queue = new HandQueue(dma, 4)
  before?.(queue)
  let broken: string | undefined
  const ring = new DeviceSplitRing({
    memory,
    size: 4,
    ...queue.addresses,
    onBroken: (reason) => {
      broken = reason
    },
    ...options,
  })
  const region = dma.allocate(64)
  const sections = () => memory.violations.list.map(({ section }) => section)
  return {
    dma,
    queue,
    ring,
    region,
    sections,
    broken: () => broken,
    texts: () => memory.violations.list.map(({ text }) => text),
  }
}

describe('what a driver does wrong in a ring', () => {
  it('§ 2.7.5.2: § 2.7.9: with IN_ORDER chains and their links go around the table', () => {
    const begins = setUp({ inOrder: 'always' })
    begins.queue.descriptor(1, begins.region.deviceAddress, 8, 0)
    begins.queue.offer(1)
    expect(begins.ring.take()?.head).toBe(1)
    expect(begins.sections()).toEqual(['2.7.5.2'])

    const linked = setUp({ inOrder: 'always' })
    linked.queue.descriptor(0, linked.region.deviceAddress, 8, 1, 2)
    linked.queue.descriptor(2, linked.region.deviceAddress, 8, 0)
    linked.queue.offer(0)
    expect(linked.ring.take()?.head).toBe(0)
    expect(linked.sections()).toEqual(['2.7.5.2'])

    const right = setUp({ inOrder: 'always' })
    right.queue.descriptor(0, right.region.deviceAddress, 8, 1, 1)
    right.queue.descriptor(1, right.region.deviceAddress, 8, 0)
    right.queue.descriptor(2, right.region.deviceAddress, 8, 0)
    right.queue.descriptor(3, right.region.deviceAddress, 8, 0)
    right.queue.offer(0, 2, 3)
    const chains = [right.ring.take(), right.ring.take()].map((chain) => chain!)
    right.ring.untake([chains[1]!])
    expect(right.ring.take()?.head).toBe(2)
    const wraps = right.ring.take()!
    for (const chain of [...chains, wraps]) right.ring.push(chain, 0)
    right.ring.flush()
    right.queue.descriptor(0, right.region.deviceAddress, 8, 0)
    right.queue.offer(0)
    expect(right.ring.take()?.head).toBe(0)
    expect(right.sections()).toEqual([])
  })

  it('§ 2.9: a notification that says something else than the available ring', () => {
    const { queue, ring, region, sections } = setUp()
    queue.descriptor(0, region.deviceAddress, 8, 0)
    queue.offer(0)
    ring.judgeNotification(1)
    expect(sections()).toEqual([])
    for (const next of [0, 2, 0x8001, -1]) ring.judgeNotification(next)
    expect(sections()).toEqual(['2.9', '2.9', '2.9', '2.9'])
    ring.stop()
    ring.judgeNotification(0)
    expect(sections()).toHaveLength(4)
  })

  it('§ 2.7.6.1 the available index jumps, or goes back', () => {
    for (const index of [5, 0xffff]) {
      const { queue, ring, sections, broken } = setUp()
      queue.available.setUint16(2, index, true)
      expect(ring.take()).toBeUndefined()
      expect(sections()).toEqual(['2.7.6.1'])
      expect(broken()).toContain('idx')
      expect(ring.broken).toBeDefined()
    }
  })

  it('§ 2.7.5.2 a head outside the table, a next outside the table, a loop', () => {
    const head = setUp()
    head.queue.offer(4)
    expect(head.ring.take()).toBeUndefined()
    expect(head.sections()).toEqual(['2.7.5.2'])

    const next = setUp()
    next.queue.descriptor(0, next.region.deviceAddress, 8, 1, 4)
    next.queue.offer(0)
    expect(next.ring.take()).toBeUndefined()
    expect(next.sections()).toEqual(['2.7.5.2'])

    const loop = setUp()
    loop.queue.descriptor(0, loop.region.deviceAddress, 8, 1, 1)
    loop.queue.descriptor(1, loop.region.deviceAddress, 8, 1, 0)
    loop.queue.offer(0)
    expect(loop.ring.take()).toBeUndefined()
    expect(loop.sections()).toEqual(['2.7.5.2'])
    expect(loop.broken()).toContain('does not end')
  })

  it('§ 2.7.4.2 a readable descriptor behind a writable one: recorded, and served all the same', () => {
    const { queue, ring, region, sections } = setUp()
    queue.chain(0, [
      [region.deviceAddress, 8, true],
      [region.deviceAddress + 8, 8, false],
    ])
    queue.offer(0)
    expect(ring.take()?.readableLength).toBe(8)
    expect(sections()).toEqual(['2.7.4.2'])
  })

  it('§ 2.7.13.1 a descriptor of length zero, and one that points nowhere', () => {
    const zero = setUp()
    zero.queue.descriptor(0, zero.region.deviceAddress, 0, 2)
    zero.queue.offer(0)
    zero.ring.take()
    expect(zero.sections()).toEqual(['2.7.13.1'])

    const nowhere = setUp()
    nowhere.queue.descriptor(0, 0x10, 8, 2)
    nowhere.queue.offer(0)
    expect(nowhere.ring.take()).toBeUndefined()
    expect(nowhere.broken()).toContain('cannot be reached')
    expect(nowhere.sections()).toContain('2.7.13.1')
  })

  it('§ 2.7.5.3.1 indirect descriptors: not negotiated, nested, with NEXT, of an odd length, out of reach', () => {
    const table = (
      change: (env: ReturnType<typeof setUp>, view: DataView, address: number) => void,
      indirect = true,
    ) => {
      const env = setUp({ indirect })
      const region = env.dma.allocate(64)
      change(env, new DataView(region.bytes.buffer, region.bytes.byteOffset, 64), region.deviceAddress)
      env.queue.offer(0)
      expect(env.ring.take()).toBeUndefined()
      expect(env.sections()).toContain('2.7.5.3.1')
      return env.broken()
    }
    expect(table(({ queue }, _view, address) => queue.descriptor(0, address, 32, 4), false)).toContain(
      'without INDIRECT_DESC',
    )
    expect(
      table(({ queue }, view, address) => {
        queue.descriptor(0, address, 32, 4)
        queue.descriptor(0, address, 32, 4, 0, view)
      }),
    ).toContain('within an indirect table')
    expect(table(({ queue }, _view, address) => queue.descriptor(0, address, 32, 4 | 1, 1))).toContain(
      'both INDIRECT and NEXT',
    )
    expect(table(({ queue }, _view, address) => queue.descriptor(0, address, 24, 4))).toContain('24 bytes')
    expect(table(({ queue }, _view, address) => queue.descriptor(0, address, 0, 4))).toContain('0 bytes')
    expect(table(({ queue }) => queue.descriptor(0, 0x10, 32, 4))).toContain('cannot be reached')
  })

  it('§ 2.7.5.3.1 an indirect chain longer than the queue: recorded, and served all the same', () => {
    const { dma, queue, ring, region, sections } = setUp({ indirect: true })
    const table = dma.allocate(96)
    const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, 96)
    for (let n = 0; n < 6; n++) queue.descriptor(n, region.deviceAddress, 8, n < 5 ? 1 : 0, n + 1, view)
    queue.descriptor(0, table.deviceAddress, 96, 4)
    queue.offer(0)
    expect(ring.take()?.readableLength).toBe(48)
    expect(sections()).toEqual(['2.7.5.3.1'])
  })

  it('§ 2.7.7.1 flags of the available ring: not 0 with EVENT_IDX, neither 0 nor 1 without', () => {
    for (const [eventIndex, flags, wrong] of [
      [true, 1, true],
      [true, 0, false],
      [false, 1, false],
      [false, 2, true],
    ] as const) {
      const { queue, ring, region, sections } = setUp({ eventIndex })
      queue.descriptor(0, region.deviceAddress, 8, 0)
      queue.availableFlags = flags
      queue.offer(0)
      ring.take()
      expect(sections()).toEqual(wrong ? ['2.7.7.1'] : [])
    }
  })

  it('§ 2.7.1 parts that are not aligned, and parts out of reach', () => {
    const { dma, queue } = setUp()
    const { descriptorArea, driverArea, deviceArea } = queue.addresses
    const near = DeviceMemory.of(dma)
    new DeviceSplitRing({
      memory: near,
      size: 4,
      descriptorArea: descriptorArea + 8,
      driverArea: driverArea + 1,
      deviceArea: deviceArea + 2,
    })
    expect(near.violations.list.filter(({ section }) => section === '2.7.1')).toHaveLength(3)

    for (const part of ['descriptorArea', 'driverArea', 'deviceArea']) {
      const memory = DeviceMemory.of(dma)
      expect(() => new DeviceSplitRing({ memory, size: 4, ...queue.addresses, [part]: 0x10 })).toThrow(RangeError)
      expect(memory.violations.list).toMatchObject([{ section: '2.7' }])
    }
  })

  it('§ 2.7.10.1 § 4.1.5.1.3 a used ring that is not zeroed', () => {
    const { sections } = setUp({}, (queue) => {
      queue.used.setUint16(0, 1, true)
      queue.used.setUint16(2, 7, true)
    })
    expect(sections()).toEqual(['2.7.10.1', '4.1.5.1.3'])
  })

  it('§ 3.3.1 a descriptor offered twice, and one altered while its buffer is exposed', () => {
    const twice = setUp()
    twice.queue.descriptor(0, twice.region.deviceAddress, 8, 0)
    twice.queue.offer(0, 0)
    twice.ring.take()
    expect(twice.sections()).toEqual([])
    twice.ring.take()
    expect(twice.texts()).toEqual(['queue 0: descriptor 0 was made available twice'])

    const altered = setUp()
    altered.queue.descriptor(0, altered.region.deviceAddress, 8, 0)
    altered.queue.offer(0)
    const chain = altered.ring.take()
    altered.queue.descriptor(0, altered.region.deviceAddress, 9, 0)
    if (chain) altered.ring.use(chain, 0)
    expect(altered.sections()).toEqual(['3.3.1'])
  })
})
