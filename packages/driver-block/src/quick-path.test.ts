import { hostile } from '@virtio-ts/device-models'
import type { DmaRegion } from '@virtio-ts/memory'
import { heapDma } from '@virtio-ts/memory/heap'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { BlockDriver } from './block-driver.ts'
import type { BlockLimits } from './block-limits.ts'
import { QuickPath } from './quick-path.ts'
import { StagingPool } from './staging-pool.ts'
import { type BlockBench, type BlockBenchOptions, openBlockBench, pattern, turns } from '../test-support/block-bench.ts'

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

describe('a request of one segment', () => {
  it.each([512, 4096, 16_384, 16_896, 65_536, 66_048])('brings the same bytes as one of many: %i', async (length) => {
    const { disk } = await bench()
    const data = pattern(length, 3)
    await disk.write(4096, data)
    expect(await disk.read(4096, length)).toEqual(data)
    // With a signal it takes the long way.
    const { signal } = new AbortController()
    expect(await disk.read(4096, length, { signal })).toEqual(data)
    const region = disk.allocate(length)
    await disk.readInto(4096, region)
    expect(region.bytes).toEqual(data)
    region.bytes.fill(9)
    await disk.writeFrom(0, { region, offset: 0, length })
    expect((await disk.read(0, length)).every((byte) => byte === 9)).toBe(true)
    expect(disk.stats()).toMatchObject({ held: 0, in_flight: 0, reads: expect.any(Number), failed: 0 })
  })

  it('is counted once', async () => {
    const { disk, model } = await bench()
    const region = disk.allocate(1024)
    await disk.write(0, pattern(512))
    await disk.read(0, 1024)
    await disk.readInto(0, region)
    await disk.writeFrom(0, [region])
    expect(disk.stats()).toMatchObject({ reads: 2, bytes_read: 2048, writes: 2, bytes_written: 1536 })
    expect(model.requests).toBe(4)
  })

  it('gives the buffer back once, before the promise resolves', async () => {
    const { disk } = await bench()
    const order: string[] = []
    const region = disk.allocate(512)
    for (let n = 0; n < 3; n++) {
      await disk.readInto(0, region, { onReleased: () => order.push('released') }).then(() => order.push('resolved'))
    }
    expect(order).toEqual(['released', 'resolved', 'released', 'resolved', 'released', 'resolved'])
  })

  it('gives no buffer back, and writes to no array, before the device is reset', async () => {
    const { disk, model } = await bench()
    await disk.write(0, pattern(512))
    model.hold()
    const into = new Uint8Array(512)
    const onReleased = vi.fn<() => void>()
    const lost = Promise.allSettled([disk.read(0, into), disk.readInto(0, disk.allocate(512), { onReleased })])
    await turns()
    expect([model.held, disk.stats().held]).toEqual([2, 2])
    expect(onReleased).not.toHaveBeenCalled()
    await disk.close()
    expect(await lost).toMatchObject([
      { status: 'rejected', reason: { code: 'device.closed' } },
      { status: 'rejected', reason: { code: 'device.closed' } },
    ])
    expect(onReleased).toHaveBeenCalledTimes(1)
    expect(into).toEqual(new Uint8Array(512))
    expect(disk.stats().held).toBe(0)
  })

  it('is the only one to fail when its array is taken away meanwhile', async () => {
    const { disk, model } = await bench()
    model.hold()
    const into = new Uint8Array(512)
    const read = disk.read(0, into)
    const other = disk.read(512, 512)
    await turns()
    structuredClone(into, { transfer: [into.buffer] })
    model.release()
    await expect(read).rejects.toThrow(TypeError)
    expect((await other).length).toBe(512)
    expect(disk.stats()).toMatchObject({ held: 0, in_flight: 0 })
    expect((await disk.read(0, 512)).length).toBe(512)
  })

  it('refuses a buffer that reaches beyond its region', async () => {
    const { disk, model } = await bench()
    const region = disk.allocate(4096)
    const onReleased = vi.fn<() => void>()
    for (const offset of [3584, -512, 0.5]) {
      await expect(disk.readInto(0, { region, offset, length: 1024 }, { onReleased })).rejects.toThrow(RangeError)
    }
    await turns()
    expect(onReleased).toHaveBeenCalledTimes(3)
    expect([model.requests, disk.stats().held]).toEqual([0, 0])
  })

  it.each([
    ['status-garbage', 'block.bad-status'],
    ['status-missing', 'block.bad-status'],
    ['io-error', 'block.io-error'],
    ['answer-short', 'block.short-answer'],
  ] as const)('that comes back with %s is %s, whichever way it went', async (kind, code) => {
    const { signal } = new AbortController()
    const onReleased = vi.fn<() => void>()
    for (const control of [{}, { signal }]) {
      for (const read of [
        (disk: BlockDriver) => disk.read(512, 512, control),
        (disk: BlockDriver) => disk.readInto(512, disk.allocate(512), { onReleased, ...control }),
      ]) {
        // It misbehaves once.
        const { disk } = await bench({ profile: hostile({ kind }) })
        await expect(read(disk)).rejects.toMatchObject({ code, details: { detail: { type: 0, sector: 1 } } })
        expect(disk.stats()).toMatchObject({ held: 0, in_flight: 0, failed: 1, reads: 0 })
        await read(disk)
        expect(disk.stats()).toMatchObject({ held: 0, failed: 1, reads: 1 })
      }
    }
    expect(onReleased).toHaveBeenCalledTimes(4)
  })

  it('that its queue refuses takes nothing with it, and is left to the long way', () => {
    const allocator = heapDma(1 << 20)
    const allocate = (length: number): DmaRegion => allocator.allocate(length)
    const pool = new StagingPool({ allocate, slots: 4, memory: 65_536, bufferLength: 16_384 })
    const refusing = {
      submit: () => {
        throw new Error('no room')
      },
    }
    const limits = { sizeMax: 65_536, zoned: undefined } as unknown as BlockLimits
    const path = new QuickPath({ channel: refusing as never, pool, transfer: {} as never, limits, unit: 512 })
    const onReleased = vi.fn<() => void>()
    for (let n = 0; n < 10; n++) {
      expect(path.read(0, new Uint8Array(512))).toBe(undefined)
      expect(path.direct(1, 0, allocator.allocate(512), onReleased)).toBe(undefined)
    }
    expect(pool.leases).toBe(0)
    expect(onReleased).not.toHaveBeenCalled()
  })
})
