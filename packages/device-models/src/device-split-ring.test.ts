import { heapDma } from '@virtio-ts/memory/heap'
import { describe, expect, it } from 'vitest'
import { HandQueue } from '../test-support/hand-queue.ts'
import { DeviceMemory } from './device-memory.ts'
import { DeviceSplitRing, type DeviceSplitRingOptions } from './device-split-ring.ts'

function setUp(size: number, options: Partial<DeviceSplitRingOptions> & { legacy?: boolean } = {}) {
  const dma = heapDma(1 << 20, { deviceAddress: 0x100000 })
  const memory = DeviceMemory.of(dma)
  const queue = new HandQueue(dma, size, options.startIndex ?? 0, options.legacy)
  let notified = 0
  const ring = new DeviceSplitRing({ memory, size, ...queue.addresses, notify: () => notified++, ...options })
  const buffer = (bytes: Uint8Array | number) => {
    const region = dma.allocate(typeof bytes === 'number' ? bytes : bytes.length)
    if (typeof bytes !== 'number') region.bytes.set(bytes)
    return region
  }
  return { memory, queue, ring, buffer, notifications: () => notified, violations: memory.violations }
}

describe('DeviceSplitRing', () => {
  it('§ 2.7.8 reads a chain and gives it back with what was written', () => {
    const { queue, ring, buffer, notifications, violations } = setUp(4)
    const command = buffer(Uint8Array.of(1, 2, 3))
    const tail = buffer(Uint8Array.of(4, 5))
    const answer = buffer(3)
    const more = buffer(8)
    queue.descriptor(3, command.deviceAddress, 3, 1, 1)
    queue.descriptor(1, tail.deviceAddress, 2, 1, 0)
    queue.descriptor(0, answer.deviceAddress, 3, 3, 2)
    queue.descriptor(2, more.deviceAddress, 8, 2)
    queue.offer(3)
    const chain = ring.take()
    expect(chain?.head).toBe(3)
    expect([...(chain?.read() ?? [])]).toEqual([1, 2, 3, 4, 5])
    expect([...(chain?.read(2, 2) ?? [])]).toEqual([3, 4])
    expect(chain?.writableLength).toBe(11)
    expect(chain?.write(Uint8Array.of(10, 11, 12, 13, 14))).toBe(5)
    expect(chain?.write(Uint8Array.of(99, 98), 10)).toBe(1)
    if (chain) ring.use(chain, 11)
    expect([...answer.bytes]).toEqual([10, 11, 12])
    expect([...more.bytes]).toEqual([13, 14, 0, 0, 0, 0, 0, 99])
    expect(queue.takeUsed()).toEqual([{ id: 3, len: 11 }])
    expect(notifications()).toBe(1)
    expect(ring.take()).toBeUndefined()
    expect(violations.list).toEqual([])
  })

  it.each([1, 2, 4, 256])('§ 2.7 keeps order over the wrap of both indexes, with %i descriptors', (size) => {
    const { queue, ring, buffer, violations } = setUp(size, { startIndex: 0xfffd })
    const region = buffer(16)
    for (let head = 0; head < size; head++) queue.descriptor(head, region.deviceAddress, 16, 2)
    for (let round = 0; round < 12; round++) {
      const heads = Array.from({ length: Math.min(size, 3) }, (_, n) => (round + n) % size)
      queue.offer(...heads)
      for (const head of heads) {
        const chain = ring.take()
        expect(chain?.head).toBe(head)
        if (chain) ring.push(chain, head + round)
      }
      ring.flush()
      expect(queue.takeUsed()).toEqual(heads.map((head) => ({ id: head, len: head + round })))
    }
    expect(ring.takenIndex).toBe(ring.usedIndex)
    expect(ring.usedIndex).toBe((0xfffd + 12 * Math.min(size, 3)) & 0xffff)
    expect(violations.list).toEqual([])
  })

  it('§ 2.7.5.3.2 follows a table of indirect descriptors, also behind direct ones, whatever its WRITE flag says', () => {
    const { queue, ring, buffer, violations } = setUp(8, { indirect: true })
    const head = buffer(Uint8Array.of(9))
    const payload = buffer(Uint8Array.of(7, 8))
    const answer = buffer(4)
    const table = buffer(48)
    const view = new DataView(table.bytes.buffer, table.bytes.byteOffset, 48)
    queue.descriptor(0, payload.deviceAddress, 2, 1, 2, view)
    queue.descriptor(2, answer.deviceAddress, 4, 2, 0, view)
    queue.descriptor(5, head.deviceAddress, 1, 1, 6)
    queue.descriptor(6, table.deviceAddress, 48, 4 | 2)
    queue.offer(5)
    const chain = ring.take()
    expect([...(chain?.read() ?? [])]).toEqual([9, 7, 8])
    expect(chain?.writableLength).toBe(4)
    expect(chain?.descriptors).toEqual([5, 6])
    expect(violations.list).toEqual([])
  })

  it('§ 2.7.2 finds the parts of a legacy queue', () => {
    // 256: the formula gives 4096 + 6 + 512 = 4614 before the padding, so the used ring lies at 8192.
    expect(DeviceSplitRing.legacyAddresses(0x8000, 256)).toEqual({
      descriptorArea: 0x8000,
      driverArea: 0x9000,
      deviceArea: 0xa000,
    })
    expect(DeviceSplitRing.legacyAddresses(0x8000, 8)).toEqual({
      descriptorArea: 0x8000,
      driverArea: 0x8080,
      deviceArea: 0x9000,
    })
    const { queue } = setUp(128, { legacy: true })
    expect(DeviceSplitRing.legacyAddresses(queue.addresses.descriptorArea, 128)).toEqual(queue.addresses)
  })

  it('takes buffers back as if they had never been taken', () => {
    const { queue, ring, buffer, violations } = setUp(4)
    const region = buffer(8)
    for (let head = 0; head < 4; head++) queue.descriptor(head, region.deviceAddress, 8, 2)
    queue.offer(2, 0, 1)
    const taken = [ring.take(), ring.take()].filter((chain) => chain !== undefined)
    ring.untake(taken)
    expect(ring.available).toBe(3)
    expect([ring.take()?.head, ring.take()?.head, ring.take()?.head]).toEqual([2, 0, 1])
    expect(violations.list).toEqual([])
  })

  describe('used buffer notifications', () => {
    function use(env: ReturnType<typeof setUp>, count: number): number {
      const before = env.notifications()
      for (let n = 0; n < count; n++) {
        env.queue.offer(n % env.queue.size)
        const chain = env.ring.take()
        if (chain) env.ring.push(chain, 0)
      }
      env.ring.flush()
      return env.notifications() - before
    }

    it('§ 2.7.7.2 without EVENT_IDX follows flags and ignores used_event', () => {
      const env = setUp(4)
      const region = env.buffer(8)
      for (let head = 0; head < 4; head++) env.queue.descriptor(head, region.deviceAddress, 8, 0)
      env.queue.usedEvent = 100
      expect(use(env, 1)).toBe(1)
      env.queue.availableFlags = 1
      expect(use(env, 3)).toBe(0)
      env.queue.availableFlags = 0
      expect(use(env, 1)).toBe(1)
    })

    it('§ 2.7.7.2 with EVENT_IDX notifies when the entry at used_event was written, once a batch', () => {
      for (const start of [0, 0xfffe]) {
        const env = setUp(4, { eventIndex: true, startIndex: start })
        const region = env.buffer(8)
        for (let head = 0; head < 4; head++) env.queue.descriptor(head, region.deviceAddress, 8, 0)
        env.queue.usedEvent = start
        expect(use(env, 1)).toBe(1)
        expect(use(env, 1)).toBe(0)
        env.queue.usedEvent = (start + 3) & 0xffff
        expect(use(env, 1)).toBe(0)
        expect(use(env, 3)).toBe(1)
      }
    })

    it('§ 6.3 with NOTIFY_ON_EMPTY notifies when nothing is left, whatever the driver says', () => {
      const env = setUp(4, { notifyOnEmpty: true })
      const region = env.buffer(8)
      for (let head = 0; head < 4; head++) env.queue.descriptor(head, region.deviceAddress, 8, 0)
      env.queue.availableFlags = 1
      env.queue.offer(0, 1)
      const first = env.ring.take()
      if (first) env.ring.use(first, 0)
      expect(env.notifications()).toBe(0)
      const second = env.ring.take()
      if (second) env.ring.use(second, 0)
      expect(env.notifications()).toBe(1)
    })
  })

  describe('available buffer notifications', () => {
    it('§ 2.7.10.2 without EVENT_IDX says in flags whether it wants them', () => {
      const { queue, ring } = setUp(4)
      ring.suppressNotifications()
      expect(queue.usedFlags).toBe(1)
      expect(ring.requestNotifications()).toBe(false)
      expect(queue.usedFlags).toBe(0)
    })

    it('§ 2.7.10.2 with EVENT_IDX leaves flags 0 and moves avail_event', () => {
      const { queue, ring, buffer } = setUp(4, { eventIndex: true, startIndex: 0xffff })
      const region = buffer(8)
      queue.descriptor(0, region.deviceAddress, 8, 0)
      queue.descriptor(1, region.deviceAddress, 8, 0)
      ring.suppressNotifications()
      expect(queue.usedFlags).toBe(0)
      expect(queue.availEvent).toBe(0)
      queue.offer(0)
      ring.take()
      expect(ring.requestNotifications()).toBe(false)
      expect(queue.availEvent).toBe(0)
      queue.offer(1)
      // One waits: the next notification is for the one behind it, and the caller is told to go on.
      expect(ring.requestNotifications()).toBe(true)
      expect(queue.availEvent).toBe(1)
    })
  })
})
