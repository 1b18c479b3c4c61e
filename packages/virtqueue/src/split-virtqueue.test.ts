import { heapDma } from '@virtio-ts/memory/heap'
import { describe, expect, it } from 'vitest'
import { at, ringBench } from './testing/ring-bench.ts'
import { ChainBuilder } from './chain-builder.ts'
import { SplitVirtqueue } from './split-virtqueue.ts'
import { usedBatch } from './virtqueue.ts'

const readable = (address: number, length: number) => ({ address, length, writable: false })
const writable = (address: number, length: number) => ({ address, length, writable: true })

describe('SplitVirtqueue: making buffers available', () => {
  it('§ 2.7.13: the device sees nothing before publish, and everything after it, in order', () => {
    const { queue, device } = ringBench()
    expect(queue.addReadable(at(0x1000), 60, 1)).toBe(true)
    expect(queue.addWritable(at(0x2000), 1526, 2)).toBe(true)
    expect(device.take()).toEqual([])
    expect(queue.inFlight).toBe(2)
    expect(queue.free).toBe(6)
    queue.publish()
    expect(device.take().map((chain) => chain.buffers)).toEqual([[readable(0x1000, 60)], [writable(0x2000, 1526)]])
    queue.publish()
    expect(device.take()).toEqual([])
  })

  it.each([0, 0xffffffff, 2 ** 32, 2 ** 32 + 5, 0x12_3456_789a, 2 ** 53 - 1])(
    '§ 2.7.5: address %i reaches the device as it is',
    (address) => {
      const { queue, device } = ringBench({ indirect: true })
      queue.addReadable(at(address), 7, 0)
      queue.addChain(new ChainBuilder(2).addReadable(at(address), 1).addWritable(at(address), 2), 1)
      queue.publish()
      expect(device.take().map((chain) => chain.buffers)).toEqual([
        [readable(address, 7)],
        [readable(address, 1), writable(address, 2)],
      ])
    },
  )

  it('a high address leaves nothing behind in the descriptor that is used next', () => {
    const { queue, device, drain } = ringBench({ size: 1 })
    queue.addReadable(at(2 ** 40 + 4096), 1, 0)
    queue.publish()
    device.putUsed(device.take()[0]!.id, 0)
    expect(drain()).toHaveLength(1)
    queue.addWritable(at(4096), 1, 0)
    queue.publish()
    expect(device.take()[0]!.buffers).toEqual([writable(4096, 1)])
  })

  it('§ 2.7.13.1: a chain of several buffers takes as many descriptors, linked in order', () => {
    const { queue, device } = ringBench()
    const chain = new ChainBuilder(4)
      .addReadable(at(16), 16)
      .addReadable(at(32), 8)
      .addWritable(at(48), 512)
      .addWritable(at(64), 1)
    expect(queue.addChain(chain, 9)).toBe(true)
    expect(queue.free).toBe(4)
    queue.publish()
    expect(device.take()[0]!.buffers).toEqual([readable(16, 16), readable(32, 8), writable(48, 512), writable(64, 1)])
    expect(chain.count).toBe(4)
  })

  it('§ 2.7.5.3: with INDIRECT_DESC it takes one descriptor, and each head has a table of its own', () => {
    const { queue, device, drain } = ringBench({ size: 4, indirect: true })
    const chain = new ChainBuilder(4)
    for (let i = 0; i < 4; i++) {
      chain
        .clear()
        .addReadable(at(0x100 * i), i + 1)
        .addWritable(at(0x100 * i + 16), 10)
        .addWritable(at(0x100 * i + 32), 20)
      expect(queue.addChain(chain, i)).toBe(true)
    }
    expect(queue.free).toBe(0)
    queue.publish()
    const taken = device.take()
    expect(taken.map(({ buffers }) => buffers)).toEqual(
      [0, 1, 2, 3].map((i) => [readable(0x100 * i, i + 1), writable(0x100 * i + 16, 10), writable(0x100 * i + 32, 20)]),
    )
    for (const { id } of taken) device.putUsed(id, 30)
    expect(drain()).toEqual([0, 1, 2, 3].map((cookie) => ({ cookie, written: 30 })))
  })

  it('a single buffer needs no indirect table', () => {
    const { queue, memory, base } = ringBench({ indirect: true })
    queue.addChain(new ChainBuilder(1).addWritable(at(4096), 8), 0)
    queue.publish()
    expect(memory.getUint16(queue.addresses.descriptorArea - base + 12, true)).toBe(2)
  })

  it('chains longer than a table take several descriptors', () => {
    const { queue, device } = ringBench({ indirect: true, indirectCapacity: 2 })
    const two = new ChainBuilder(2).addReadable(at(1), 1).addReadable(at(2), 2)
    const three = new ChainBuilder(3).addReadable(at(3), 3).addReadable(at(4), 4).addWritable(at(5), 5)
    expect(queue.addChain(two, 0) && queue.addChain(three, 1)).toBe(true)
    expect(queue.free).toBe(4)
    queue.publish()
    expect(device.take().map(({ buffers }) => buffers.length)).toEqual([2, 3])
  })

  it('§ 2.7.5.3.1: refuses a chain longer than the queue, indirect or not', () => {
    for (const indirect of [false, true]) {
      const { queue } = ringBench({ size: 2, indirect, indirectCapacity: 64 })
      const chain = new ChainBuilder(3).addReadable(at(0), 1).addReadable(at(0), 1)
      expect(queue.maxChain).toBe(2)
      expect(queue.addChain(chain, 0)).toBe(true)
      expect(() => queue.addChain(chain.addReadable(at(0), 1), 0)).toThrow(RangeError)
    }
  })

  it.each([0, -1, 0.5, Number.NaN, 2 ** 32])(
    'refuses a buffer of %s bytes, which would stop some devices',
    (length) => {
      const { queue } = ringBench()
      expect(() => queue.addReadable(at(0), length, 0)).toThrow(RangeError)
      expect(() => queue.addWritable(at(0), length, 0)).toThrow(RangeError)
      expect(() => queue.addChain(new ChainBuilder(1), 0)).toThrow(RangeError)
      expect(queue.free).toBe(8)
    },
  )

  it('D24: a device that completes nothing meets a full ring, and nothing grows', () => {
    const { queue, device, drain } = ringBench({ size: 4 })
    for (let i = 0; i < 4; i++) expect(queue.addWritable(at(64 * i), 64, i)).toBe(true)
    expect(queue.addWritable(at(0), 64, 4)).toBe(false)
    expect(queue.addReadable(at(0), 64, 4)).toBe(false)
    expect(queue.addChain(new ChainBuilder(1).addReadable(at(0), 1), 4)).toBe(false)
    queue.publish()
    expect(queue.addWritable(at(0), 64, 4)).toBe(false)
    expect([queue.free, queue.inFlight]).toEqual([0, 4])
    device.putUsed(device.take()[2]!.id, 64)
    expect(drain()).toEqual([{ cookie: 2, written: 64 }])
    expect(queue.addWritable(at(0), 64, 4)).toBe(true)
    expect(queue.addWritable(at(0), 64, 5)).toBe(false)
    expect(queue.broken).toBeUndefined()
  })

  it('a chain that does not fit now changes nothing', () => {
    const { queue, device } = ringBench({ size: 4 })
    queue.addReadable(at(0), 1, 0)
    queue.addReadable(at(0), 1, 1)
    const chain = new ChainBuilder(3).addReadable(at(1), 1).addReadable(at(2), 2).addReadable(at(3), 3)
    expect(queue.addChain(chain, 2)).toBe(false)
    expect(queue.free).toBe(2)
    queue.publish()
    expect(device.take()).toHaveLength(2)
  })
})

describe('SplitVirtqueue: taking used buffers', () => {
  it('§ 2.7.14: gives back cookies and written lengths in the order of use, whatever the order of supply', () => {
    const { queue, device, drain } = ringBench()
    for (let i = 0; i < 5; i++) queue.addWritable(at(4096 * i), 2048, 100 + i)
    queue.publish()
    const ids = device.take().map(({ id }) => id)
    for (const i of [3, 0, 4]) device.putUsed(ids[i]!, 10 * i)
    expect(queue.hasUsed()).toBe(true)
    expect(drain(2)).toEqual([
      { cookie: 103, written: 30 },
      { cookie: 100, written: 0 },
      { cookie: 104, written: 40 },
    ])
    expect(queue.hasUsed()).toBe(false)
    expect([queue.free, queue.inFlight]).toEqual([6, 2])
    expect(queue.stats).toMatchObject({ added: 5, used: 3, inFlight: 2, lengthsClamped: 0 })
  })

  it('keeps to the capacity of the batch', () => {
    const { queue, device } = ringBench()
    for (let i = 0; i < 5; i++) queue.addWritable(at(0), 1, i)
    queue.publish()
    for (const { id } of device.take()) device.putUsed(id, 1)
    const batch = usedBatch(3)
    expect(queue.popUsed(batch)).toBe(3)
    expect([...batch.cookies]).toEqual([0, 1, 2])
    expect(queue.popUsed(batch)).toBe(2)
    expect([...batch.cookies]).toEqual([3, 4, 2])
    expect(queue.popUsed(usedBatch(0))).toBe(0)
  })

  it.each([-1, 0, 2 ** 31 - 1, -(2 ** 31)])('cookie %i comes back as it was', (cookie) => {
    const { queue, device, drain } = ringBench()
    queue.addReadable(at(0), 1, cookie)
    queue.publish()
    device.putUsed(device.take()[0]!.id, 0)
    expect(drain()).toEqual([{ cookie, written: 0 }])
  })

  it('takes written lengths up to 2^32 - 1, of chains up to 2^32 bytes', () => {
    const { queue, device, drain } = ringBench()
    queue.addWritable(at(0), 0xffffffff, 0)
    queue.addChain(new ChainBuilder(2).addWritable(at(0), 2 ** 31).addWritable(at(0), 2 ** 31), 1)
    queue.publish()
    for (const { id } of device.take()) device.putUsed(id, 0xffffffff)
    expect(drain().map(({ written }) => written)).toEqual([0xffffffff, 0xffffffff])
    expect(queue.broken).toBeUndefined()
  })

  it('D10: goes on for 70000 chains of changing shapes, past the wrap of both indices', () => {
    const { queue, device } = ringBench({ size: 16, indirect: true, indirectCapacity: 2 })
    const batch = usedBatch(16)
    const chain = new ChainBuilder(3)
    let sum = 0
    let wrong = 0
    let n = 0
    while (n < 70_000) {
      const first = n
      while (queue.addWritable(at(4096), 64, n)) {
        n++
        chain.clear().addReadable(at(8192), 4)
        for (let i = 0; i < n % 3; i++) chain.addWritable(at(8192), 8)
        if (queue.addChain(chain, n)) n++
      }
      queue.publish()
      const taken = device.take()
      for (const { id } of taken.reverse()) device.putUsed(id, 0)
      const count = queue.popUsed(batch)
      if (count !== n - first) wrong++
      if (queue.hasUsed() || count === 0) break
      for (let i = 0; i < count; i++) sum += batch.cookies[i]! - (first + count - 1 - i)
    }
    expect(n).toBeGreaterThanOrEqual(70_000)
    expect([wrong, sum, queue.broken, queue.free]).toEqual([0, 0, undefined, 16])
    expect(device.usedIndex).toBeLessThan(10_000)
  })
})

describe('SplitVirtqueue: memory', () => {
  it.each([1, 2, 4, 8, 256, 32768])('§ 2.7.1: the areas of a ring of %i are aligned and apart', (size) => {
    const { queue } = ringBench({ size, memoryLength: 1 << 21 })
    const { descriptorArea, driverArea, deviceArea } = queue.addresses
    expect([descriptorArea % 16, driverArea % 2, deviceArea % 4]).toEqual([0, 0, 0])
    expect(driverArea).toBeGreaterThanOrEqual(descriptorArea + 16 * size)
    expect(deviceArea).toBeGreaterThanOrEqual(driverArea + 6 + 2 * size)
  })

  it('§ 2.7.2: the legacy layout is contiguous, from a page on, with the used ring on a page', () => {
    const { queue, device, drain } = ringBench({ size: 256, legacy: true })
    const { descriptorArea, driverArea, deviceArea } = queue.addresses
    expect(descriptorArea % 4096).toBe(0)
    expect(driverArea - descriptorArea).toBe(4096)
    expect(deviceArea - descriptorArea).toBe(8192)
    queue.addWritable(at(0), 10, 5)
    queue.publish()
    device.putUsed(device.take()[0]!.id, 10)
    expect(drain()).toEqual([{ cookie: 5, written: 10 }])
  })

  it.each([0, 3, 65536, 1.5, 0.5, -4, Number.NaN])('refuses a ring of %s descriptors', (size) => {
    expect(() => ringBench({ size, memoryLength: 1 << 22 })).toThrow(expect.objectContaining({ code: 'ring.size' }))
  })

  it('§ 2.7.10.1: gives the device a zeroed ring, whatever the allocator left in it', () => {
    const allocator = heapDma(1 << 16)
    const dirty = {
      ...{
        free: allocator.free.bind(allocator),
        quarantine: allocator.quarantine.bind(allocator),
        stats: allocator.stats,
      },
      allocate(length: number, alignment?: number) {
        const region = allocator.allocate(length, alignment)
        region.bytes.fill(0xab)
        return region
      },
    }
    const { queue, memory, base } = ringBench({ allocator: dirty, size: 4 })
    const bytes = new Uint8Array(memory.buffer, queue.addresses.descriptorArea - base, 64 + 64 + 64)
    expect(bytes.every((byte) => byte === 0)).toBe(true)
  })

  it('leaves nothing allocated when the memory does not suffice', () => {
    const allocator = heapDma(8192)
    const make = (indirect: boolean) => ringBench({ allocator, size: 64, indirect, indirectCapacity: 64 })
    expect(() => make(true)).toThrow(expect.objectContaining({ code: 'memory.exhausted' }))
    expect(allocator.stats.allocatedBytes).toBe(0)
    expect(make(false).queue.size).toBe(64)
  })

  it('refuses memory at an odd place instead of reading beside it, and gives it back', () => {
    const allocator = heapDma(1 << 16)
    const odd = {
      quarantine() {},
      stats: allocator.stats,
      free: () => allocator.free(regions.pop()!),
      allocate(length: number, alignment?: number) {
        const region = allocator.allocate(length + 2, alignment)
        regions.push(region)
        return { ...region, bytes: region.bytes.subarray(2) }
      },
    }
    const regions: ReturnType<typeof allocator.allocate>[] = []
    const options = {
      index: 0,
      size: 4,
      legacy: false,
      indirect: false,
      eventIdx: false,
      trust: 'strict',
      notify() {},
    } as const
    expect(() => new SplitVirtqueue({ ...options, allocator: odd })).toThrow(RangeError)
    expect(allocator.stats.allocatedBytes).toBe(0)
  })

  it('release gives everything back once, quarantine nothing', () => {
    const released = ringBench({ indirect: true })
    expect(released.allocator.stats.allocatedRegions).toBe(2)
    released.queue.release()
    released.queue.release()
    released.queue.quarantine()
    expect(released.allocator.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })

    const { queue, allocator } = ringBench({ indirect: true })
    const { allocatedBytes } = allocator.stats
    queue.quarantine()
    queue.release()
    expect(allocator.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: allocatedBytes })
  })

  it.each(['release', 'quarantine'] as const)('D20: D23: after %s nothing is read, written or notified', (retire) => {
    const bench = ringBench()
    const { queue, device, memory } = bench
    queue.addWritable(at(0), 10, 1)
    queue.publish()
    queue.addWritable(at(0), 10, 2)
    device.putUsed(device.take()[0]!.id, 10)
    queue[retire]()
    const before = Buffer.from(memory.buffer.slice(0))
    queue.publish()
    queue.notifyAlways()
    queue.disableUsedNotifications()
    expect(queue.enableUsedNotifications()).toBe(false)
    expect(queue.popUsed(usedBatch(4))).toBe(0)
    expect(queue.hasUsed()).toBe(false)
    expect(queue.addReadable(at(0), 1, 0)).toBe(false)
    expect(queue.addChain(new ChainBuilder(1).addReadable(at(0), 1), 0)).toBe(false)
    expect(before.equals(Buffer.from(memory.buffer))).toBe(true)
    expect([bench.notifications, queue.free]).toEqual([1, 0])
    expect(queue.broken?.code).toBe('ring.released')
    expect(() => queue.reset()).toThrow(expect.objectContaining({ code: 'ring.released' }))
    expect(bench.broken).toEqual([])
  })

  it('a fault stays the reason after release', () => {
    const { queue, device } = ringBench()
    device.moveUsedIndex(9)
    queue.popUsed(usedBatch(1))
    queue.release()
    expect(queue.broken?.code).toBe('ring.idx-jump')
    expect(() => queue.reset()).toThrow(expect.objectContaining({ code: 'ring.released' }))
  })
})

describe('SplitVirtqueue: reset', () => {
  it.each([0, 0xfffe])('§ 2.6.1.1.2: gives the buffers back and starts afresh at index %i', (startIndex) => {
    const { queue, device, drain, memory, broken } = ringBench({ startIndex, eventIdx: true, indirect: true })
    const fresh = Buffer.from(memory.buffer.slice(0))
    const chain = new ChainBuilder(2).addReadable(at(0), 1).addWritable(at(0), 1)
    for (let i = 0; i < 4; i++) queue.addChain(chain, 10 + i)
    queue.publish()
    queue.addWritable(at(0), 1, 14)
    queue.disableUsedNotifications()
    device.putUsed(device.take()[1]!.id, 0)
    expect(drain()).toHaveLength(1)
    device.moveUsedIndex((device.usedIndex + 1000) & 0xffff)
    expect(queue.popUsed(usedBatch(1))).toBe(0)
    expect(broken).toHaveLength(1)

    expect([...queue.reset()].sort((a, b) => a - b)).toEqual([10, 12, 13, 14])
    expect(fresh.equals(Buffer.from(memory.buffer))).toBe(true)
    expect([queue.broken, queue.free, queue.inFlight]).toEqual([undefined, 8, 0])

    device.nextAvailable = startIndex
    device.usedIndex = startIndex
    device.held.clear()
    for (let i = 0; i < 8; i++) expect(queue.addWritable(at(64 * i), 64, i)).toBe(true)
    queue.publish()
    for (const { id } of device.take()) device.putUsed(id, 64)
    expect(drain().map(({ cookie }) => cookie)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    device.moveUsedIndex((device.usedIndex + 1) & 0xffff)
    expect(drain()).toEqual([])
    expect(broken).toHaveLength(2)
    expect(queue.reset()).toEqual(new Int32Array(0))
  })

  it('cookies in the middle of chains are not heads', () => {
    const { queue } = ringBench()
    queue.addReadable(at(0), 1, 77)
    queue.addChain(new ChainBuilder(3).addReadable(at(0), 1).addReadable(at(0), 1).addReadable(at(0), 1), 78)
    expect([...queue.reset()]).toEqual([77, 78])
  })
})
