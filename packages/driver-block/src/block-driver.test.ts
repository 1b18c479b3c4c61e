import { afterEach, describe, expect, it, vi } from 'vitest'
import { type BlockBench, type BlockBenchOptions, openBlockBench, pattern, turns } from '../test-support/block-bench.ts'
import type { BlockEvents } from './index.ts'

const benches: BlockBench[] = []

async function bench(options: BlockBenchOptions = {}): Promise<BlockBench> {
  const opened = await openBlockBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { disk, fn } of benches.splice(0)) {
    await disk.close()
    expect(fn.violations).toEqual([])
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  }
})

describe('reading and writing', () => {
  it('brings back what was written', async () => {
    const { disk, model } = await bench()
    const data = pattern(8192)
    await disk.write(1024, data)
    expect(await disk.read(1024, 8192)).toEqual(data)
    expect(model.store.read(2, 8192)).toEqual(data)
    expect(await disk.read(0, 1024)).toEqual(new Uint8Array(1024))
  })

  it('scatters and gathers over arrays of any length', async () => {
    const { disk } = await bench()
    const data = pattern(300 * 512)
    await disk.write(512, [data.subarray(0, 1), data.subarray(1, 1), data.subarray(1, 70001), data.subarray(70001)])
    const into = [new Uint8Array(511), new Uint8Array(0), new Uint8Array(100_000), new Uint8Array(300 * 512 - 100_511)]
    expect(await disk.read(512, into)).toBe(into)
    expect(Buffer.concat(into)).toEqual(Buffer.from(data))
  })

  it('takes nothing for an answer to nothing', async () => {
    const { disk, model } = await bench()
    expect(await disk.read(0, 0)).toEqual(new Uint8Array(0))
    await disk.write(512, new Uint8Array(0))
    await disk.discard(0, 0)
    expect(model.requests).toBe(0)
  })

  it('§ 5.2.6.1 takes whole blocks and nothing else: a RangeError otherwise', async () => {
    const { disk, model } = await bench({ model: { blockSize: 4096 } })
    await expect(disk.read(512, 4096)).rejects.toBeInstanceOf(RangeError)
    await expect(disk.read(0, 512)).rejects.toBeInstanceOf(RangeError)
    await expect(disk.read(-4096, 4096)).rejects.toBeInstanceOf(RangeError)
    await expect(disk.read(Number.NaN, 4096)).rejects.toBeInstanceOf(RangeError)
    await expect(disk.write(0.5, new Uint8Array(4096))).rejects.toBeInstanceOf(RangeError)
    await expect(disk.discard(0, 100)).rejects.toBeInstanceOf(RangeError)
    expect(model.requests).toBe(0)
  })

  it('§ 5.2.6.1 asks for nothing beyond the capacity', async () => {
    const { disk, model } = await bench({ model: { capacity: 100 } })
    await expect(disk.read(99 * 512, 1024)).rejects.toMatchObject({ code: 'block.out-of-range' })
    await expect(disk.write(100 * 512, new Uint8Array(512))).rejects.toMatchObject({ code: 'block.out-of-range' })
    await expect(disk.writeZeroes(0, 101 * 512)).rejects.toMatchObject({ code: 'block.out-of-range' })
    await disk.read(99 * 512, 512)
    expect(model.requests).toBe(1)
  })

  it('counts in sectors of 512 bytes whatever the block size', async () => {
    const { disk, model } = await bench({ model: { blockSize: 4096, capacity: 800 } })
    expect([disk.blockSize, disk.capacity]).toEqual([4096, 800 * 512])
    const data = pattern(4096)
    await disk.write(8192, data)
    expect(model.store.read(16, 4096)).toEqual(data)
  })

  it.each([
    ['in two segments', { blockSize: 65536, segMax: 2 }],
    ['of 2 MiB', { blockSize: 2 ** 21, segMax: 126 }],
    ['in segments of odd lengths', { blockSize: 4096, sizeMax: 1000, segMax: 5 }],
    ['that do not fit a request', { blockSize: 4096, sizeMax: 1024, segMax: 1 }],
  ])('carries blocks %s, within the limits of the device', async (_name, model) => {
    const { disk } = await bench({ model: { ...model, capacity: 16384 }, options: { stagingMemory: 4096 } })
    const data = pattern(Math.max(2 * model.blockSize, 40_960))
    await disk.write(0, data)
    expect(Buffer.compare(await disk.read(0, data.length), data)).toBe(0)
    const region = disk.allocate(data.length)
    await disk.readInto(0, region)
    expect(Buffer.compare(region.bytes, data)).toBe(0)
  })

  it('goes on when callers are many more than requests may be', async () => {
    const { disk, model } = await bench({ options: { maxInFlight: 4, stagingMemory: 65536 } })
    const all = Array.from({ length: 500 }, (_, n) => disk.write(n * 512, pattern(512, n)))
    await Promise.all(all)
    expect(model.requests).toBe(500)
    const read = await Promise.all(Array.from({ length: 500 }, (_, n) => disk.read(n * 512, 512)))
    expect(read).toEqual(Array.from({ length: 500 }, (_, n) => pattern(512, n)))
    expect(disk.stats()).toMatchObject({ held: 0, waiting: 0, in_flight: 0, reads: 500, writes: 500 })
  })

  it('copes with answers in any order', async () => {
    const { disk } = await bench({ model: { order: 'reversed', queues: 3 }, on: { execution: 'deferred' } })
    await Promise.all(Array.from({ length: 300 }, (_, n) => disk.write(n * 512, pattern(512, n))))
    const read = await Promise.all(Array.from({ length: 300 }, (_, n) => disk.read(n * 512, 512)))
    expect(read).toEqual(Array.from({ length: 300 }, (_, n) => pattern(512, n)))
  })
})

describe('events', () => {
  it('§ 5.2.6.1 tells of another capacity, and goes by it', async () => {
    const { disk, model } = await bench({ model: { capacity: 100 } })
    const told = vi.fn<BlockEvents['resize']>()
    disk.on('resize', told)
    model.resize(200)
    await turns()
    expect(told.mock.calls).toEqual([[200 * 512]])
    await disk.write(150 * 512, pattern(512))
    model.resize(50)
    await turns()
    await expect(disk.read(50 * 512, 512)).rejects.toMatchObject({ code: 'block.out-of-range' })
  })

  it('§ 5.2.6.1 asks for nothing beyond a capacity that shrank while a request waited', async () => {
    const { disk, model } = await bench({ model: { capacity: 100 }, options: { maxInFlight: 1 } })
    model.hold()
    const first = disk.read(0, 512)
    const region = disk.allocate(512)
    const released = vi.fn<() => void>()
    const waiting = Promise.allSettled([
      disk.read(99 * 512, 512),
      disk.writeFrom(99 * 512, region, { onReleased: released }),
    ])
    await turns()
    model.resize(50)
    await turns()
    model.release()
    await first
    for (const one of await waiting) expect(one).toMatchObject({ reason: { code: 'block.out-of-range' } })
    expect(released).toHaveBeenCalledTimes(1)
    expect([model.requests, disk.stats().held]).toEqual([1, 0])
  })
})
