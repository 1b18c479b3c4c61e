import { heapDma } from '@virtio-ts/memory/heap'
import { describe, expect, it } from 'vitest'
import { packedBench } from './testing/packed-bench.ts'
import { at } from './testing/ring-bench.ts'
import { ChainBuilder } from './chain-builder.ts'
import { PackedDeviceArea } from './packed-device-area.ts'
import { usedBatch } from './virtqueue.ts'

const readable = (address: number, length: number) => ({ address, length, writable: false })
const writable = (address: number, length: number) => ({ address, length, writable: true })

describe('PackedVirtqueue: making buffers available', () => {
  it.each([0, 0xffffffff, 2 ** 32, 2 ** 32 + 5, 0x12_3456_789a, 2 ** 53 - 1])(
    '§ 2.8.13: address %i reaches the device as it is',
    (address) => {
      const { queue, device } = packedBench({ indirect: true })
      queue.addReadable(at(address), 7, 0)
      queue.addWritable(at(address), 8, 0)
      queue.addChain(new ChainBuilder(2).addReadable(at(address), 1).addWritable(at(address), 2), 1)
      queue.publish()
      expect(device.take().map((chain) => chain.buffers)).toEqual([
        [readable(address, 7)],
        [writable(address, 8)],
        [readable(address, 1), writable(address, 2)],
      ])
    },
  )

  it('§ 2.8.6: a list goes round the end of the ring, with the other wrap counter from there on', () => {
    const { queue, device, drain, memory } = packedBench({ size: 5 })
    const chain = new ChainBuilder(4)
      .addReadable(at(16), 16)
      .addReadable(at(32), 8)
      .addWritable(at(48), 512)
      .addWritable(at(64), 1)
    queue.addChain(new ChainBuilder(3).addReadable(at(0), 1).addReadable(at(0), 1).addReadable(at(0), 1), 1)
    queue.publish()
    device.putUsed(device.take()[0]!.id, 0)
    expect(drain()).toHaveLength(1)
    expect(queue.addChain(chain, 9)).toBe(true)
    queue.publish()
    const flags = [3, 4, 0, 1].map((slot) => memory.getUint16(device.ring.descriptorArea + 16 * slot + 14, true))
    expect(flags).toEqual([0x80 | 1, 0x80 | 1, 0x8000 | 1 | 2, 0x8000 | 2])
    const [taken] = device.take()
    expect(taken).toMatchObject({
      count: 4,
      buffers: [readable(16, 16), readable(32, 8), writable(48, 512), writable(64, 1)],
    })
    device.putUsed(taken!.id, 513)
    expect(drain()).toEqual([{ cookie: 9, written: 513 }])
  })

  it('§ 2.8.7: an indirect list takes one descriptor; what the table cannot hold takes several', () => {
    const { queue, device } = packedBench({ indirect: true, indirectCapacity: 2 })
    const two = new ChainBuilder(2).addReadable(at(16), 1).addWritable(at(32), 2)
    const three = new ChainBuilder(3).addReadable(at(16), 1).addWritable(at(32), 2).addWritable(at(64), 3)
    expect([queue.addChain(two, 1), queue.addChain(three, 2), queue.addChain(two, 3)]).toEqual([true, true, true])
    expect(queue.free).toBe(3)
    queue.publish()
    expect(device.take().map(({ count, buffers }) => [count, buffers.length])).toEqual([
      [1, 2],
      [3, 3],
      [1, 2],
    ])
  })

  it('§ 2.8.21.1.1: one store makes a batch available: the flags of its first descriptor, after everything else', () => {
    const { queue, device } = packedBench({ size: 7, indirect: true })
    const chain = new ChainBuilder(7)
    for (let i = 0; i < 3; i++) chain.addReadable(at(16 * i), 16)
    const stores: { index: number; seen: number }[] = []
    for (let round = 0; round < 9; round++) {
      queue.addWritable(at(0), 64, 1)
      queue.addChain(chain, 2)
      queue.addReadable(at(0), 64, 3)
      const first = device.available.slot
      expect(device.take()).toEqual([])
      stores.length = 0
      withAtomicStore(
        (index) => stores.push({ index, seen: device.take().length }),
        () => queue.publish(),
      )
      expect(stores).toEqual([{ index: 4 * first + 3, seen: 0 }])
      const taken = device.take()
      expect(taken).toHaveLength(3)
      for (const { id } of taken) device.putUsed(id, 0)
      expect(queue.popUsed(usedBatch(8))).toBe(3)
    }
  })

  it('§ 2.8.17: of a list behind others the first descriptor is written last', () => {
    const { queue, device } = packedBench({ size: 7 })
    queue.addReadable(at(0), 1, 0)
    const chain = new ChainBuilder(3).addReadable(at(16), 1).addReadable(at(32), 1).addReadable(at(48), 1)
    const available: number[][] = []
    const addresses = new Proxy(chain.addresses, {
      get(target, property) {
        available.push([1, 2, 3].filter((slot) => (device.flags(slot) & 0x80) !== 0))
        return target[Number(property)]
      },
    })
    Object.defineProperty(chain, 'addresses', { value: addresses })
    queue.addChain(chain, 1)
    expect(available).toEqual([[], [3], [2, 3]])
  })

  it('§ 2.8.21.3.1: flags are written before the device is asked whether it wants to know', () => {
    const order: string[] = []
    class Recorder extends PackedDeviceArea {
      override eventSuppression(): number {
        order.push('wish')
        return super.eventSuppression()
      }
    }
    const { queue } = packedBench({ mapDeviceArea: (bytes, offset, size) => new Recorder(bytes, offset, size) })
    queue.addWritable(at(0), 1, 0)
    withAtomicStore(
      () => order.push('flags'),
      () => queue.publish(),
    )
    expect(order).toEqual(['flags', 'wish'])
  })

  it('ids are given again in any order, without one ever being out twice', () => {
    const { queue, device, drain } = packedBench({ size: 5 })
    let cookie = 0
    for (let round = 0; round < 500; round++) {
      while (queue.addWritable(at(0), 1, cookie)) cookie++
      queue.publish()
      device.take()
      const held = [...device.held.keys()]
      for (let i = 0; i <= round % 3; i++) device.putUsed(held.splice((round * 7 + i) % held.length, 1)[0]!, 1)
      expect(drain()).toHaveLength(1 + (round % 3))
    }
    expect([queue.broken, queue.stats.used]).toEqual([undefined, 999])
  })
})

describe('PackedVirtqueue: taking used buffers', () => {
  it('reads all flags, then, behind one barrier, all lengths', () => {
    const order: string[] = []
    class Recorder extends PackedDeviceArea {
      override usedWord(slot: number): number {
        order.push('flags')
        return super.usedWord(slot)
      }
      override usedLength(slot: number): number {
        order.push('length')
        return super.usedLength(slot)
      }
    }
    const { queue, device } = packedBench({
      mapDeviceArea: (bytes, offset, size) => new Recorder(bytes, offset, size),
    })
    for (let i = 0; i < 2; i++) queue.addWritable(at(0), 8, i)
    queue.publish()
    for (const { id } of device.take()) device.putUsed(id, 8)
    const original = Atomics.load
    Atomics.load = ((array: Uint32Array, index: number) => {
      order.push('barrier')
      return original(array, index)
    }) as typeof Atomics.load
    try {
      expect(queue.popUsed(usedBatch(8))).toBe(2)
    } finally {
      Atomics.load = original
    }
    expect(order).toEqual(['flags', 'flags', 'flags', 'barrier', 'length', 'length'])
  })
})

describe('PackedVirtqueue: used buffer notifications', () => {
  it.each([false, true])('§ 2.8.10: polling until 0 leaves no use unannounced (EVENT_IDX %s)', (eventIdx) => {
    const { queue, device, drain } = packedBench({ eventIdx, size: 7 })
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 1 + (round % 7); i++) queue.addWritable(at(0), 1, i)
      queue.publish()
      const taken = device.take()
      const old = device.used.copy()
      for (const { id } of taken) device.putUsed(id, 0)
      expect(device.mustNotify(old)).toBe(true)
      expect(drain(3)).toHaveLength(taken.length)
      // With EVENT_IDX what was announced and taken is not announced again.
      if (eventIdx) expect(device.mustNotify(old)).toBe(false)
    }
  })

  it.each([false, true])('disabled, nothing is asked for until enabled again (EVENT_IDX %s)', (eventIdx) => {
    const { queue, device, drain } = packedBench({ eventIdx })
    queue.disableUsedNotifications()
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < 8; i++) queue.addWritable(at(0), 1, i)
      queue.publish()
      const old = device.used.copy()
      for (const { id } of device.take()) device.putUsed(id, 0)
      expect(device.mustNotify(old)).toBe(false)
      expect(queue.enableUsedNotifications()).toBe(true)
      queue.disableUsedNotifications()
      expect(drain()).toHaveLength(8)
    }
    expect(queue.enableUsedNotifications()).toBe(false)
    queue.addWritable(at(0), 1, 0)
    queue.publish()
    const old = device.used.copy()
    device.putUsed(device.take()[0]!.id, 0)
    expect(device.mustNotify(old)).toBe(true)
  })

  it.each([false, true])('what enables notifications is a barrier before flags are read (EVENT_IDX %s)', (eventIdx) => {
    const order: string[] = []
    class Recorder extends PackedDeviceArea {
      override nextUsedWord(slot: number): number {
        order.push('flags')
        return super.nextUsedWord(slot)
      }
    }
    const { queue } = packedBench({
      eventIdx,
      mapDeviceArea: (bytes, offset, size) => new Recorder(bytes, offset, size),
    })
    withAtomicStore(
      () => order.push('store'),
      () => queue.enableUsedNotifications(),
    )
    expect(order).toEqual(['store', 'flags'])
  })
})

describe('PackedVirtqueue: memory', () => {
  it.each([1, 2, 3, 5, 7, 8, 100, 256, 1000])('§ 2.8.11: the parts of a ring of %i are aligned and apart', (size) => {
    const { descriptorArea, driverArea, deviceArea } = packedBench({ size }).queue.addresses
    expect([descriptorArea % 16, driverArea % 4, deviceArea % 4]).toEqual([0, 0, 0])
    expect(driverArea).toBeGreaterThanOrEqual(descriptorArea + 16 * size)
    expect(deviceArea).toBeGreaterThanOrEqual(driverArea + 64)
  })

  it.each([0, 32769, 65536, 1.5, 0.5, -4, Number.NaN])('§ 2.8: refuses a ring of %s descriptors', (size) => {
    expect(() => packedBench({ size, memoryLength: 1 << 21 })).toThrow(expect.objectContaining({ code: 'ring.size' }))
  })

  it('§ 2.8.13: gives the device a zeroed ring, whatever the allocator left in it', () => {
    const allocator = heapDma(1 << 16)
    const dirty = {
      free: allocator.free.bind(allocator),
      quarantine: allocator.quarantine.bind(allocator),
      stats: allocator.stats,
      allocate(length: number, alignment?: number) {
        const region = allocator.allocate(length, alignment)
        region.bytes.fill(0xab)
        return region
      },
    }
    const { queue, memory, base } = packedBench({ allocator: dirty, size: 3 })
    const bytes = new Uint8Array(memory.buffer, queue.addresses.descriptorArea - base, 64 + 64 + 64)
    expect(bytes.every((byte) => byte === 0)).toBe(true)
  })

  it('leaves nothing allocated when the memory does not suffice', () => {
    const allocator = heapDma(8192)
    expect(() => packedBench({ allocator, size: 63, indirect: true, indirectCapacity: 63 })).toThrow(
      expect.objectContaining({ code: 'memory.exhausted' }),
    )
    expect(allocator.stats.allocatedBytes).toBe(0)
  })

  it('release gives everything back once, quarantine nothing', () => {
    const released = packedBench({ indirect: true })
    expect(released.allocator.stats.allocatedRegions).toBe(2)
    released.queue.release()
    released.queue.quarantine()
    released.queue.release()
    expect(released.allocator.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })

    const { queue, allocator } = packedBench({ indirect: true })
    const { allocatedBytes } = allocator.stats
    queue.quarantine()
    queue.release()
    expect(allocator.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: allocatedBytes })
  })

  it.each(['release', 'quarantine'] as const)('D20: D23: after %s nothing is read, written or notified', (retire) => {
    const bench = packedBench()
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
    expect([queue.enableUsedNotifications(), queue.popUsed(usedBatch(4)), queue.hasUsed()]).toEqual([false, 0, false])
    expect(queue.addReadable(at(0), 1, 0)).toBe(false)
    expect(before.equals(Buffer.from(memory.buffer))).toBe(true)
    expect([bench.notifications, queue.free, queue.broken?.code]).toEqual([1, 0, 'ring.released'])
    expect(() => queue.reset()).toThrow(expect.objectContaining({ code: 'ring.released' }))
    expect(bench.broken).toEqual([])
  })
})

describe('PackedVirtqueue: reset', () => {
  it('§ 2.6.1.1.2: gives the buffers back and starts afresh, with both wrap counters at 1', () => {
    const { queue, device, drain, memory, broken } = packedBench({ size: 7, eventIdx: true, indirect: true })
    const fresh = Buffer.from(memory.buffer.slice(0))
    const chain = new ChainBuilder(2).addReadable(at(0), 1).addWritable(at(0), 1)
    for (let i = 0; i < 7; i++) queue.addWritable(at(0), 1, i)
    queue.publish()
    for (const { id } of device.take()) device.putUsed(id, 0)
    expect(drain()).toHaveLength(7)
    for (let i = 0; i < 4; i++) queue.addChain(chain, 10 + i)
    queue.publish()
    queue.addWritable(at(0), 1, 14)
    queue.disableUsedNotifications()
    device.putUsed(device.take()[1]!.id, 0)
    expect(drain()).toHaveLength(1)
    device.putUsed(0xffff, 0)
    expect([drain(), broken.length]).toEqual([[], 1])

    expect([...queue.reset()].sort((a, b) => a - b)).toEqual([10, 12, 13, 14])
    expect(fresh.equals(Buffer.from(memory.buffer))).toBe(true)
    expect([queue.broken, queue.free, queue.inFlight]).toEqual([undefined, 7, 0])
    device.restart()
    for (let i = 0; i < 7; i++) expect(queue.addWritable(at(64 * i), 64, i)).toBe(true)
    queue.publish()
    for (const { id } of device.take()) device.putUsed(id, 64)
    expect(drain().map(({ cookie }) => cookie)).toEqual([0, 1, 2, 3, 4, 5, 6])
    expect(queue.reset()).toEqual(new Int32Array(0))
  })
})

/** Runs `body` while every `Atomics.store` is told to `listener` before it happens. */
function withAtomicStore(listener: (index: number) => void, body: () => void): void {
  const original = Atomics.store
  Atomics.store = ((array: Uint32Array, index: number, value: number) => {
    listener(index)
    return original(array, index, value)
  }) as typeof Atomics.store
  try {
    body()
  } finally {
    Atomics.store = original
  }
}
