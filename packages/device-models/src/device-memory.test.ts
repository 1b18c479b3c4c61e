import { DmaError } from '@virtio-ts/memory'
import { heapDma } from '@virtio-ts/memory/heap'
import { describe, expect, it } from 'vitest'
import { DeviceMemory } from './device-memory.ts'
import { TrackedDma } from './tracked-dma.ts'

describe('DeviceMemory', () => {
  const block = { bytes: Uint8Array.from({ length: 256 }, (_, n) => n), deviceAddress: 0x1000 }

  it('translates an address to the bytes that lie there', () => {
    const memory = new DeviceMemory(block)
    expect([...(memory.bytes(0x1010, 3) ?? [])]).toEqual([16, 17, 18])
    expect(memory.bytes(0x1000, 256)).toHaveLength(256)
    expect(memory.violations.list).toEqual([])
  })

  it.each([
    ['below', 0xfff, 1],
    ['above', 0x1100, 1],
    ['across the end', 0x10ff, 2],
    ['with a length that wraps', 0x1000, 2 ** 32],
    ['at an address beyond 2^53', 2 ** 63, 1],
  ])('refuses and records an access %s', (_name, address, length) => {
    const memory = new DeviceMemory(block)
    expect(memory.bytes(address, length)).toBeUndefined()
    expect(memory.violations.list).toHaveLength(1)
    expect(memory.violations.list[0]?.text).toContain('outside the memory')
  })

  describe('of several blocks', () => {
    const part = (deviceAddress: number, length: number, first: number) => ({
      bytes: Uint8Array.from({ length }, (_, n) => first + n),
      deviceAddress,
    })

    it('finds each, and nothing between them', () => {
      const memory = new DeviceMemory([part(0x1000, 16, 0), part(0x2000, 16, 100)])
      expect([...(memory.bytes(0x2004, 2) ?? [])]).toEqual([104, 105])
      expect(memory.reaches(0x1008, 8)).toBe(true)
      expect(memory.violations.list).toEqual([])
      expect(memory.reaches(0x1010, 1)).toBe(false)
      expect(memory.addressOf(memory.bytes(0x2004, 2)!)).toBe(0x2004)
      expect(memory.addressOf(new Uint8Array(1))).toBe(-1)
    })

    it('gives a buffer across neighbours in parts, and one view of it to nobody', () => {
      const memory = new DeviceMemory([part(0x1010, 4, 100), part(0x1000, 16, 0), part(0x1014, 16, 200)])
      expect(memory.parts(0x100e, 10)?.map((bytes) => [...bytes])).toEqual([
        [14, 15],
        [100, 101, 102, 103],
        [200, 201, 202, 203],
      ])
      expect(memory.violations.list).toEqual([])
      expect(memory.bytes(0x100e, 10)).toBeUndefined()
      expect(memory.parts(0x1020, 5)).toBeUndefined()
      expect(memory.violations.list).toHaveLength(2)
    })

    it('sees no part of a buffer that was given back', () => {
      const memory = new DeviceMemory([part(0x1000, 16, 0), part(0x1010, 16, 100)], {
        freed: (address, length) => address <= 0x1012 && address + length > 0x1012,
      })
      expect(memory.parts(0x100e, 10)).toBeUndefined()
      expect(memory.parts(0x100e, 3)).toHaveLength(2)
    })

    it('has others put in their place', () => {
      const memory = new DeviceMemory([part(0x1000, 16, 0)])
      memory.replace([part(0x3000, 16, 7)])
      expect([memory.reaches(0x1000, 1), memory.bytes(0x3000, 1)?.[0]]).toEqual([false, 7])
    })
  })

  it('covers the whole block of an allocator, and takes nothing from it', () => {
    const dma = heapDma(8192, { deviceAddress: 0x40000 })
    const before = dma.allocate(100)
    const memory = DeviceMemory.of(dma)
    const after = dma.allocate(4000)
    for (const region of [before, after]) {
      region.bytes.fill(7)
      expect(memory.bytes(region.deviceAddress, region.length)?.every((byte) => byte === 7)).toBe(true)
    }
    expect(memory.bytes(0x40000 + 8192, 1)).toBeUndefined()
    expect(dma.stats.allocatedRegions).toBe(2)
  })
})

describe('TrackedDma', () => {
  it('knows what was given back and what is out again', () => {
    const dma = new TrackedDma(heapDma(65536))
    const region = dma.allocate(4096, 4096)
    const { deviceAddress } = region
    expect(dma.freed(deviceAddress, 4096)).toBe(false)
    dma.free(region)
    expect(dma.freed(deviceAddress + 100, 1)).toBe(true)
    expect(dma.freed(deviceAddress + 4096, 1)).toBe(false)
    const again = dma.allocate(64, 4096)
    expect(again.deviceAddress).toBe(deviceAddress)
    expect(dma.freed(deviceAddress, 64)).toBe(false)
    expect(dma.freed(deviceAddress, 65)).toBe(true)
  })

  it('keeps quarantined memory within reach, and passes errors on', () => {
    const dma = new TrackedDma(heapDma(65536))
    const region = dma.allocate(64)
    dma.quarantine(region)
    expect(dma.freed(region.deviceAddress, 64)).toBe(false)
    expect(dma.stats.quarantinedBytes).toBe(64)
    expect(() => dma.free(region)).toThrow(DmaError)
  })

  it('makes a device that reaches for freed memory a violation', () => {
    const dma = new TrackedDma(heapDma(65536))
    const memory = DeviceMemory.of(dma, { freed: (address, length) => dma.freed(address, length) })
    const region = dma.allocate(64)
    expect(memory.bytes(region.deviceAddress, 64)).toBeDefined()
    dma.free(region)
    expect(memory.bytes(region.deviceAddress, 64)).toBeUndefined()
    expect(memory.violations.list).toMatchObject([{ section: '3.3.1' }])
  })
})
