import { heapDma } from '@virtio-ts/memory/heap'
import { VirtioError } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { type OwnedVirtqueue, PackedVirtqueue, SplitVirtqueue, adoptVirtqueue, usedBatch } from './index.ts'
import { at } from './testing/ring-bench.ts'

const BASE = 0x20_0000

function make(format: 'split' | 'packed', { indirect = true, eventIdx = true } = {}) {
  const dma = heapDma(1 << 16, { deviceAddress: BASE })
  const options = {
    index: 2,
    size: 8,
    allocator: dma,
    indirect,
    eventIdx,
    trust: 'strict',
    device: 'here',
    generation: 3,
  }
  const common = { ...options, trust: 'strict', notify() {} } as const
  const queue: OwnedVirtqueue =
    format === 'packed'
      ? new PackedVirtqueue(common)
      : new SplitVirtqueue({ ...common, legacy: false, startIndex: 0xfffe })
  const bytes = new Uint8Array(queue.memory[0]!.bytes.buffer)
  return { dma, queue, memory: { bytes, deviceAddress: BASE } }
}

describe.each(['split', 'packed'] as const)('handing over a %s queue', (format) => {
  it('gives data that survives a structured clone, and takes no packets from then on', () => {
    const { queue, memory } = make(format)
    expect(queue.transferred).toBe(false)
    const transfer = structuredClone(queue.transfer())
    expect(transfer).toMatchObject({
      format,
      index: 2,
      size: 8,
      tableCapacity: 8,
      eventIdx: true,
      device: 'here',
      generation: 3,
    })
    expect(queue.transferred).toBe(true)
    expect([queue.free, queue.addReadable(at(BASE), 1, 0), queue.hasUsed(), queue.enableUsedNotifications()]).toEqual([
      0,
      false,
      false,
      false,
    ])
    const adopted = adoptVirtqueue(transfer, { memory, notify() {} })
    expect(adopted.addresses).toEqual(queue.addresses)
    expect([adopted.index, adopted.size, adopted.free]).toEqual([2, 8, 8])
    expect(adopted.addWritable(at(BASE), 64, 5)).toBe(true)
    adopted.publish()
    expect([adopted.inFlight, queue.inFlight, queue.popUsed(usedBatch(8))]).toEqual([1, 0, 0])
  })

  it('leaves the memory as the device may have written it meanwhile', () => {
    const { queue, memory } = make(format)
    const transfer = queue.transfer()
    const before = memory.bytes.fill(0x5a).slice()
    adoptVirtqueue(transfer, { memory, notify() {} })
    expect(memory.bytes).toEqual(before)
  })

  it('goes on without notifications where they were not asked for', () => {
    const { queue, memory } = make(format, { eventIdx: true })
    queue.disableUsedNotifications()
    const adopted = adoptVirtqueue(queue.transfer(), { memory, notify() {} })
    const before = memory.bytes.slice()
    adopted.popUsed(usedBatch(8))
    expect(memory.bytes).toEqual(before)
  })

  it('refuses a queue that has chains, had some, or is another thread’s', () => {
    const { queue } = make(format)
    queue.addReadable(at(BASE), 1, 7)
    expect(() => queue.transfer()).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    queue.publish()
    expect(() => queue.transfer()).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    expect([...queue.reset()]).toEqual([7])
    queue.transfer()
    expect(() => queue.transfer()).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    queue.reset()
    expect([queue.transferred, queue.free]).toEqual([false, 8])
    queue.transfer()
    queue.release()
    expect(() => queue.transfer()).toThrow(expect.objectContaining({ code: 'ring.released' }))
  })

  it('refuses a queue that broke, with its reason', () => {
    const { queue } = make(format)
    queue.fail(new VirtioError('device.gone', 'gone'))
    expect(() => queue.transfer()).toThrow(expect.objectContaining({ code: 'device.gone' }))
  })

  it('leaves failing and freeing to both and to the owner', () => {
    const { dma, queue, memory } = make(format)
    const adopted = adoptVirtqueue(queue.transfer(), { memory, notify() {} })
    const told: string[] = []
    queue.onBroken(({ code }) => told.push(`owner ${code}`))
    adopted.onBroken(({ code }) => told.push(`adopted ${code}`))
    adopted.fail(new VirtioError('device.gone', 'gone'))
    expect([adopted.broken?.code, queue.broken]).toEqual(['device.gone', undefined])
    queue.fail(new VirtioError('device.closed', 'closed'))
    expect(told).toEqual(['adopted device.gone', 'owner device.closed'])
    const owned = adopted as OwnedVirtqueue
    owned.release()
    expect(dma.stats.allocatedRegions).toBe(2)
    queue.release()
    expect(dma.stats.allocatedRegions).toBe(0)
  })

  it('refuses data that does not describe a queue inside the memory', () => {
    const { queue, memory } = make(format)
    const transfer = queue.transfer()
    const adopt =
      (change: object, mapped = memory) =>
      () =>
        adoptVirtqueue({ ...transfer, ...change }, { memory: mapped, notify() {} })
    const { descriptorArea } = transfer.addresses
    expect(adopt({})).not.toThrow()
    for (const address of [BASE - 64, BASE + (1 << 16) - 64, 0, -1, Number.NaN, 2 ** 53, descriptorArea + 8]) {
      const addresses = { ...transfer.addresses, descriptorArea: address }
      expect(adopt({ addresses }), `descriptor area at ${address}`).toThrow(RangeError)
    }
    for (const area of ['driverArea', 'deviceArea'] as const)
      expect(adopt({ addresses: { ...transfer.addresses, [area]: transfer.addresses[area] + 64 } })).toThrow(RangeError)
    for (const tablesAddress of [BASE - 64, BASE + (1 << 16) - 512, Number.NaN])
      expect(adopt({ tablesAddress }), `tables at ${tablesAddress}`).toThrow(RangeError)
    for (const tableCapacity of [-1, 9, 1.5, Number.NaN]) expect(adopt({ tableCapacity })).toThrow(RangeError)
    expect(adopt({ size: 65536 })).toThrow(expect.objectContaining({ code: 'ring.size' }))
    const { bytes, deviceAddress } = memory
    expect(adopt({}, { bytes: bytes.subarray(0, 64), deviceAddress })).toThrow(RangeError)
    expect(adopt({}, { bytes: bytes.subarray(1), deviceAddress: deviceAddress + 1 })).toThrow(RangeError)
  })
})
