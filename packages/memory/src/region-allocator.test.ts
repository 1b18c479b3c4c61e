import assert from 'node:assert/strict'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DmaError, type DmaRegion } from './dma.ts'
import { RegionAllocator } from './region-allocator.ts'

const BASE = 0x20_0000

function allocator(length: number, deviceAddress = BASE): RegionAllocator {
  return new RegionAllocator({ bytes: new Uint8Array(length), deviceAddress })
}

describe('RegionAllocator.allocate', () => {
  it('hands out the first stretch that fits', () => {
    const dma = allocator(4096)
    const a = dma.allocate(100)
    const b = dma.allocate(64)
    const c = dma.allocate(10)
    expect([a, b, c].map((region) => region.deviceAddress)).toEqual([BASE, BASE + 128, BASE + 192])
    dma.free(a)
    expect(dma.allocate(65).deviceAddress).toBe(BASE)
    expect(dma.allocate(64).deviceAddress).toBe(BASE + 256)
  })

  it('shows the same bytes as the block', () => {
    const bytes = new Uint8Array(256)
    const dma = new RegionAllocator({ bytes: bytes.subarray(64), deviceAddress: 0 })
    dma.allocate(64)
    const region = dma.allocate(16)
    expect(region).toMatchObject({ length: 16, deviceAddress: 64 })
    region.bytes.fill(7)
    expect(bytes.indexOf(7)).toBe(128)
    expect(bytes.lastIndexOf(7)).toBe(143)
    expect('file' in region).toBe(false)
  })

  it('says where in the file the region is', () => {
    const dma = new RegionAllocator({ bytes: new Uint8Array(256), deviceAddress: 0, file: { fd: 5, offset: 4096 } })
    dma.allocate(10)
    expect(dma.allocate(10).file).toEqual({ fd: 5, offset: 4160 })
  })

  it('zeroes what it hands out, and nothing else', () => {
    const bytes = new Uint8Array(192).fill(0xff)
    const dma = new RegionAllocator({ bytes, deviceAddress: 0 })
    const first = dma.allocate(64)
    expect(bytes.subarray(0, 64).every((byte) => byte === 0)).toBe(true)
    expect(bytes.subarray(64).every((byte) => byte === 0xff)).toBe(true)
    first.bytes.fill(1)
    dma.free(first)
    expect(dma.allocate(64).bytes.every((byte) => byte === 0)).toBe(true)
  })

  it('aligns the address that the device sees, wherever the block begins', () => {
    for (const base of [0, 1, BASE + 12, 2 ** 40 + 100]) {
      const dma = allocator(65536, base)
      for (const alignment of [1, 2, 64, 4096, 16384]) {
        expect(dma.allocate(3, alignment).deviceAddress % alignment).toBe(0)
      }
    }
  })

  it('uses the gap that an alignment left', () => {
    const dma = allocator(8192, BASE + 64)
    expect(dma.allocate(4096, 4096).deviceAddress).toBe(BASE + 4096)
    expect(dma.allocate(4032).deviceAddress).toBe(BASE + 64)
  })

  it('says how much is wanted and how much there is when there is no room', () => {
    const dma = allocator(1024)
    const keep = dma.allocate(512)
    dma.quarantine(dma.allocate(128))
    expect(() => dma.allocate(385)).toThrow(
      expect.objectContaining({
        name: 'DmaError',
        code: 'memory.exhausted',
        message: expect.stringMatching(/385 bytes.* of 1024 bytes 384 are free, 384 in one piece, 128 in quarantine/),
      }),
    )
    expect(dma.stats).toEqual({ allocatedBytes: 512, allocatedRegions: 1, quarantinedBytes: 128 })
    expect(() => dma.allocate(1, 2 ** 40)).toThrow(expect.objectContaining({ code: 'memory.exhausted' }))
    dma.free(keep)
    expect(() => dma.allocate(513)).toThrow(expect.objectContaining({ code: 'memory.exhausted' }))
    expect(() => allocator(0).allocate(1)).toThrow(DmaError)
  })

  it('refuses lengths and alignments that are none', () => {
    const dma = allocator(4096)
    for (const length of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53]) {
      expect(() => dma.allocate(length)).toThrow(RangeError)
    }
    for (const alignment of [0, -64, 3, 96, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => dma.allocate(64, alignment)).toThrow(RangeError)
    }
    expect(dma.stats).toEqual({ allocatedBytes: 0, allocatedRegions: 0, quarantinedBytes: 0 })
  })

  it('refuses a block whose addresses would not be exact numbers', () => {
    expect(() => allocator(64, 2 ** 53 - 32)).toThrow(RangeError)
    expect(() => allocator(64, -1)).toThrow(RangeError)
    expect(() => allocator(64, 0.5)).toThrow(RangeError)
  })
})

describe('RegionAllocator.free', () => {
  it('takes a region back once', () => {
    const dma = allocator(4096)
    const region = dma.allocate(64)
    dma.free(region)
    expect(() => dma.free(region)).toThrow(
      expect.objectContaining({ code: 'memory.not-allocated', message: expect.stringContaining('0x200000') }),
    )
    expect(dma.stats).toEqual({ allocatedBytes: 0, allocatedRegions: 0, quarantinedBytes: 0 })
  })

  it('takes back no region of another allocator, nor a copy', () => {
    const dma = allocator(4096)
    const region = dma.allocate(64)
    const foreign = allocator(4096).allocate(64)
    for (const wrong of [foreign, { ...region }]) {
      expect(() => dma.free(wrong)).toThrow(expect.objectContaining({ code: 'memory.not-allocated' }))
      expect(() => dma.quarantine(wrong)).toThrow(expect.objectContaining({ code: 'memory.not-allocated' }))
    }
    expect(dma.stats.allocatedRegions).toBe(1)
  })
})

describe('RegionAllocator.quarantine', () => {
  it('never hands the memory out again', () => {
    const dma = allocator(256)
    const bad = dma.allocate(64)
    dma.quarantine(bad)
    expect(() => dma.free(bad)).toThrow(expect.objectContaining({ code: 'memory.not-allocated' }))
    expect(() => dma.quarantine(bad)).toThrow(expect.objectContaining({ code: 'memory.not-allocated' }))
    expect(dma.stats).toEqual({ allocatedBytes: 0, allocatedRegions: 0, quarantinedBytes: 64 })
    expect(dma.allocate(192).deviceAddress).toBe(BASE + 64)
    expect(() => dma.allocate(1)).toThrow(expect.objectContaining({ code: 'memory.exhausted' }))
  })

  it('leaves what a device still writes there alone', () => {
    const dma = allocator(128)
    const bad = dma.allocate(64)
    dma.quarantine(bad)
    const good = dma.allocate(64)
    bad.bytes.fill(0xee)
    expect(good.bytes.every((byte) => byte === 0)).toBe(true)
  })
})

describe('RegionAllocator under any sequence of calls', () => {
  const LENGTH = 8192
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('allocate' as const),
        length: fc.integer({ min: 1, max: 2000 }),
        shift: fc.integer({ min: 0, max: 11 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('free' as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('quarantine' as const), pick: fc.nat() }) },
  )

  it('regions lie in the block, aligned, apart from each other, and stats add up', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 0, max: 2 ** 40 }), (steps, base) => {
        const dma = allocator(LENGTH, base)
        const out: DmaRegion[] = []
        const set: DmaRegion[] = []
        for (const action of steps) {
          if (action.do === 'allocate') {
            const free = freeStretches(LENGTH, base, [...out, ...set])
            const region = attempt(() => dma.allocate(action.length, 2 ** action.shift))
            const possible = free.some(
              ([start, end]) => Math.ceil(start / 2 ** action.shift) * 2 ** action.shift + action.length <= end,
            )
            assert.equal(region !== undefined, possible)
            if (region === undefined) continue
            assert.equal(region.deviceAddress % 2 ** action.shift, 0)
            assert.equal(region.bytes.length, region.length)
            assert.equal(region.bytes.byteOffset, region.deviceAddress - base)
            assert.ok(region.bytes.every((byte) => byte === 0))
            region.bytes.fill(0xaa)
            out.push(region)
          } else if (out.length > 0) {
            const [region] = out.splice(action.pick % out.length, 1) as [DmaRegion]
            dma[action.do](region)
            if (action.do === 'quarantine') set.push(region)
          }
          // Whoever wrote to its own region must find it untouched: no two overlap.
          for (const region of [...out, ...set]) expect(region.bytes.every((byte) => byte === 0xaa)).toBe(true)
          freeStretches(LENGTH, base, [...out, ...set])
          expect(dma.stats).toEqual({
            allocatedBytes: total(out),
            allocatedRegions: out.length,
            quarantinedBytes: total(set),
          })
        }
      }),
      { numRuns: 300 },
    )
  })

  it('everything given back, in any order, is one block again', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 1, max: 600 }), fc.integer({ min: 0, max: 9 })), {
          minLength: 1,
          maxLength: 40,
        }),
        fc.infiniteStream(fc.nat()),
        (wishes, order) => {
          const dma = allocator(LENGTH)
          const out = wishes
            .map(([length, shift]) => attempt(() => dma.allocate(length, 2 ** shift)))
            .filter((region) => region !== undefined)
          while (out.length > 0) dma.free(out.splice((order.next().value as number) % out.length, 1)[0] as DmaRegion)
          expect(dma.stats).toEqual({ allocatedBytes: 0, allocatedRegions: 0, quarantinedBytes: 0 })
          expect(dma.allocate(LENGTH).deviceAddress).toBe(BASE)
        },
      ),
      { numRuns: 300 },
    )
  })
})

function attempt(allocate: () => DmaRegion): DmaRegion | undefined {
  try {
    return allocate()
  } catch (error) {
    if (error instanceof DmaError && error.code === 'memory.exhausted') return undefined
    throw error
  }
}

function total(regions: readonly DmaRegion[]): number {
  return regions.reduce((sum, region) => sum + region.length, 0)
}

/** What a model that knows only the regions finds free: device addresses [start, end). Throws when regions overlap. */
function freeStretches(length: number, base: number, taken: readonly DmaRegion[]): [number, number][] {
  const free: [number, number][] = []
  let at = base
  for (const region of [...taken].sort((a, b) => a.deviceAddress - b.deviceAddress)) {
    if (region.deviceAddress < at) throw new Error(`a region at ${region.deviceAddress} begins before ${at}`)
    if (region.deviceAddress > at) free.push([at, region.deviceAddress])
    at = region.deviceAddress + region.length
  }
  if (at > base + length) throw new Error('a region ends behind the block')
  if (at < base + length) free.push([at, base + length])
  return free
}
