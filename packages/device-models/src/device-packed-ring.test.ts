import { heapDma } from '@virtio-ts/memory/heap'
import { describe, expect, it } from 'vitest'
import { PackedHandQueue } from '../test-support/packed-hand-queue.ts'
import { DeviceMemory } from './device-memory.ts'
import { DevicePackedRing } from './device-packed-ring.ts'
import type { DeviceRingOptions } from './device-ring.ts'

const WRITE = 2
const INDIRECT = 4

function setUp(size: number, options: Partial<DeviceRingOptions> = {}, before?: (queue: PackedHandQueue) => void) {
  const dma = heapDma(1 << 20, { deviceAddress: 0x100000 })
  const memory = DeviceMemory.of(dma)
  const queue = new PackedHandQueue(dma, size)
  before?.(queue)
  let notified = 0
  let broken: string | undefined
  const ring = new DevicePackedRing({
    memory,
    size,
    ...queue.addresses,
    notify: () => notified++,
    onBroken: (reason) => {
      broken = reason
    },
    ...options,
  })
  const region = dma.allocate(256)
  return {
    queue,
    ring,
    region,
    address: region.deviceAddress as number,
    notifications: () => notified,
    broken: () => broken,
    sections: () => memory.violations.list.map(({ section }) => section),
  }
}

describe('DevicePackedRing', () => {
  it('§ 2.8.6 reads a list and gives it back with one used descriptor', () => {
    const { queue, ring, region, address, notifications, sections } = setUp(7)
    region.bytes.set([1, 2, 3, 4, 5])
    queue.offer(6, [
      [address, 3, 0],
      [address + 3, 2, 0],
      [address + 16, 3, WRITE],
      [address + 32, 8, WRITE],
    ])
    expect(ring.available).toBe(1)
    const chain = ring.take()!
    expect([chain.head, ...chain.read()]).toEqual([6, 1, 2, 3, 4, 5])
    expect([chain.writableLength, chain.write(Uint8Array.of(10, 11, 12, 13))]).toEqual([11, 4])
    expect(ring.take()).toBeUndefined()
    ring.use(chain, 4)
    expect([...region.bytes.subarray(16, 19), region.bytes[32]]).toEqual([10, 11, 12, 13])
    expect(queue.takeUsed(4)).toEqual({ id: 6, len: 4, flags: WRITE })
    expect(queue.takeUsed(1)).toBeUndefined()
    expect([notifications(), sections()]).toEqual([1, []])
  })

  it.each([1, 2, 3, 5, 8, 256])('§ 2.8.1 goes round and round a ring of %i, used in any order', (size) => {
    const { queue, ring, address, sections } = setUp(size)
    for (let round = 0; round < 3 * size + 5; round++) {
      const lists = Math.min(size, 2)
      for (let n = 0; n < lists; n++) queue.offer(n, [[address, 16, round % 2 === 0 ? 0 : WRITE]])
      const chains = [ring.take()!, ...(lists > 1 ? [ring.take()!] : [])].reverse()
      expect(ring.take()).toBeUndefined()
      for (const chain of chains) ring.push(chain, round % 2 === 0 ? 0 : 1 + chain.head)
      expect(queue.takeUsed(1)).toBeUndefined()
      ring.flush()
      for (const { head } of chains) {
        expect(queue.takeUsed(1)).toEqual({
          id: head,
          len: round % 2 === 0 ? 0 : 1 + head,
          flags: round % 2 === 0 ? 0 : WRITE,
        })
      }
    }
    expect(sections()).toEqual([])
  })

  it('§ 2.8.7 reads an indirect table in its order; ids in it mean nothing', () => {
    const { queue, ring, address, region, sections } = setUp(3, { indirect: true })
    const table = new DataView(region.bytes.buffer, region.bytes.byteOffset + 128, 48)
    queue.write(0, address, 4, 7, 0, table)
    queue.write(1, address + 16, 5, 7, WRITE, table)
    queue.write(2, address + 32, 6, 7, WRITE, table)
    queue.offer(2, [[address + 128, 48, INDIRECT]])
    const chain = ring.take()!
    expect([chain.head, chain.readableLength, chain.writable.length, chain.writableLength]).toEqual([2, 4, 2, 11])
    expect(sections()).toEqual([])
  })

  it('untake puts lists back, round the end of the ring too', () => {
    const { queue, ring, address, sections } = setUp(3)
    queue.offer(0, [
      [address, 1, 0],
      [address, 2, 0],
    ])
    ring.use(ring.take()!, 0)
    queue.takeUsed(2)
    queue.offer(1, [
      [address, 3, 0],
      [address, 4, 0],
    ])
    queue.offer(2, [[address, 5, 0]])
    const chains = [ring.take()!, ring.take()!]
    ring.untake(chains.reverse())
    expect([ring.available, ring.take()?.readableLength, ring.take()?.readableLength]).toEqual([2, 7, 5])
    expect(sections()).toEqual([])
  })

  it('§ 2.8.10 notifies as the driver asks: enabled, disabled, or for one descriptor in one lap', () => {
    const { queue, ring, address, notifications } = setUp(3, { eventIndex: true })
    const use = (): number => {
      const before = notifications()
      queue.offer(0, [[address, 1, 0]])
      ring.use(ring.take()!, 0)
      queue.takeUsed(1)
      return notifications() - before
    }
    expect(use()).toBe(1)
    queue.setDriverEvent(1)
    expect(use()).toBe(0)
    // At descriptor 2 of the first lap, wrap counter 1.
    queue.setDriverEvent(2, 2, false)
    expect(use()).toBe(0)
    queue.setDriverEvent(2, 1, false)
    expect([use(), use(), use()]).toEqual([0, 1, 0])
    queue.setDriverEvent(2, 0, true)
    expect([use(), use()]).toEqual([1, 0])
  })

  it('§ 2.8.14 asks the driver: not at all, always, or for the descriptor behind the newest', () => {
    const plain = setUp(3)
    plain.ring.suppressNotifications()
    expect(plain.queue.deviceEvent.flags).toBe(1)
    expect(plain.ring.requestNotifications()).toBe(false)
    expect(plain.queue.deviceEvent.flags).toBe(0)

    const { queue, ring, address } = setUp(3, { eventIndex: true })
    ring.requestNotifications()
    expect(queue.deviceEvent).toEqual({ flags: 2, offset: 0, wrap: true })
    queue.offer(0, [
      [address, 1, 0],
      [address, 1, 0],
    ])
    expect(ring.requestNotifications()).toBe(true)
    expect(queue.deviceEvent).toEqual({ flags: 2, offset: 2, wrap: true })
    queue.offer(1, [[address, 1, 0]])
    ring.requestNotifications()
    expect(queue.deviceEvent).toEqual({ flags: 2, offset: 0, wrap: false })
  })

  it('after stop nothing is taken and nothing written', () => {
    const { queue, ring, address } = setUp(3)
    queue.offer(0, [[address, 1, 0]])
    const chain = ring.take()!
    queue.offer(1, [[address, 1, 0]])
    ring.stop()
    ring.use(chain, 0)
    ring.suppressNotifications()
    expect([ring.take(), ring.available, ring.requestNotifications()]).toEqual([undefined, 0, false])
    expect([queue.takeUsed(1), queue.deviceEvent.flags]).toEqual([undefined, 0])
  })
})

describe('what a driver does wrong in a packed ring', () => {
  it('§ 2.8.17 a list whose rest is not available yet', () => {
    const { queue, ring, address, sections, broken } = setUp(4)
    queue.write(0, address, 1, 0, 0x80 | 1)
    expect([ring.take(), sections(), broken()]).toEqual([
      undefined,
      ['2.8.17'],
      expect.stringContaining('not available'),
    ])
  })

  it('§ 2.8.17 a list that does not end', () => {
    const { queue, ring, address, sections } = setUp(2)
    queue.write(0, address, 1, 0, 0x80 | 1)
    queue.write(1, address, 1, 0, 0x80 | 1)
    expect([ring.take(), sections()]).toEqual([undefined, ['2.8.17']])
  })

  it('§ 2.8.17 a readable element behind a writable one: recorded, and served all the same', () => {
    const { queue, ring, address, sections } = setUp(4)
    queue.offer(0, [
      [address, 1, WRITE],
      [address, 2, 0],
    ])
    expect([ring.take()?.readableLength, sections()]).toEqual([2, ['2.8.17']])
  })

  it('§ 2.8.21.1 an id twice, an empty element, a buffer nowhere', () => {
    const twice = setUp(4)
    twice.queue.offer(1, [[twice.address, 1, 0]])
    twice.queue.offer(1, [[twice.address, 1, 0]])
    twice.ring.take()
    twice.ring.take()
    expect(twice.sections()).toEqual(['2.8.21.1'])

    const empty = setUp(4)
    empty.queue.offer(1, [[empty.address, 0, 0]])
    empty.ring.take()
    expect(empty.sections()).toEqual(['2.8.21.1'])

    const nowhere = setUp(4)
    nowhere.queue.offer(1, [[0x50, 1, 0]])
    expect(nowhere.ring.take()).toBeUndefined()
    expect(nowhere.sections()).toContain('2.8.21.1')
  })

  it.each([
    ['without INDIRECT_DESC', false, 32, INDIRECT, 0],
    ['with NEXT', true, 32, INDIRECT, 1],
    ['of 24 bytes', true, 24, INDIRECT, 0],
    ['of nothing', true, 0, INDIRECT, 0],
  ])('§ 2.8.19 an indirect table %s', (_, indirect, length, flags, next) => {
    const { queue, ring, address, sections } = setUp(4, { indirect })
    queue.write(0, address, length, 0, 0x80 | flags | next)
    expect([ring.take(), sections()]).toEqual([undefined, ['2.8.19']])
  })

  it('§ 2.8.19 a flag other than WRITE within a table: recorded, and ignored', () => {
    const { queue, ring, address, region, sections } = setUp(4, { indirect: true })
    queue.write(0, address, 3, 0, 1, new DataView(region.bytes.buffer, region.bytes.byteOffset + 128, 16))
    queue.offer(0, [[address + 128, 16, INDIRECT]])
    expect([ring.take()?.readableLength, sections()]).toEqual([3, ['2.8.19']])
  })

  it('§ 2.8.16 a descriptor altered while the device has it', () => {
    const { queue, ring, address, sections } = setUp(4)
    queue.offer(0, [
      [address, 1, 0],
      [address, 1, 0],
    ])
    const chain = ring.take()!
    queue.ring.setUint32(16 + 8, 2, true)
    ring.use(chain, 0)
    expect(sections()).toEqual(['2.8.16'])
  })

  it.each([
    ['3, which is reserved', 3, 0],
    ['2 without EVENT_IDX', 2, 0],
    ['with reserved bits', 4, 0],
  ])('§ 2.8.14 event flags %s', (_, flags) => {
    const { queue, ring, address, sections } = setUp(4)
    queue.setDriverEvent(flags)
    queue.offer(0, [[address, 1, 0]])
    ring.take()
    expect(sections()).toEqual(['2.8.14'])
  })

  it('§ 2.8.14 an event at a descriptor the ring does not have', () => {
    const { queue, ring, address, sections } = setUp(4, { eventIndex: true })
    queue.setDriverEvent(2, 4, true)
    queue.offer(0, [[address, 1, 0]])
    ring.take()
    expect(sections()).toEqual(['2.8.14'])
  })

  it('§ 2.8.13 a ring that is not zeroed, § 2.8.11 parts that are not aligned, § 2.8.10.1 parts outside the memory', () => {
    expect(setUp(4, {}, (queue) => queue.ring.setUint32(40, 1, true)).sections()).toEqual(['2.8.13'])
    const { queue, ring } = setUp(4)
    const odd = setUp(4, { driverArea: queue.addresses.driverArea + 2 })
    expect(odd.sections()).toEqual(['2.8.11'])
    expect(() => setUp(4, { deviceArea: 0x20 })).toThrow(RangeError)
    expect(ring.broken).toBeUndefined()
  })
})
