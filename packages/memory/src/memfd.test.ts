import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { openFdCount, readAt, writeAt } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type MappedDma, memfdDma } from './memfd.ts'

let dma: MappedDma
let before: number

beforeEach(() => {
  before = openFdCount()
  dma = memfdDma(1 << 20)
})

afterEach(() => dma.close())

function mappedFiles(): number {
  return readFileSync('/proc/self/maps', 'utf8').split('/memfd:virtio-ts').length - 1
}

describe('memfdDma', () => {
  it('hands out memory of the file it names', () => {
    const first = dma.allocate(64)
    const region = dma.allocate(100)
    expect(first.file).toEqual({ fd: dma.fd, offset: 0 })
    expect(region.file).toEqual({ fd: dma.fd, offset: 64 })
    region.bytes.set([1, 2, 3], 97)
    const into = new Uint8Array(3)
    readAt(dma.fd, into, 64 + 97)
    expect([...into]).toEqual([1, 2, 3])
    writeAt(dma.fd, Uint8Array.of(9), 64)
    expect(region.bytes[0]).toBe(9)
    dma.free(first)
    dma.free(region)
    expect(dma.stats).toEqual({ allocatedBytes: 0, allocatedRegions: 0, quarantinedBytes: 0 })
  })

  it('has the addresses it was told to have, or small ones', () => {
    expect(dma.deviceAddress).toBe(0x20_0000)
    expect(dma.address % 4096).toBe(0)
    const elsewhere = memfdDma(4096, { deviceAddress: 2 ** 40 })
    const region = elsewhere.allocate(1)
    expect(region.deviceAddress).toBe(2 ** 40)
    elsewhere.free(region)
    elsewhere.close()
  })

  it('has whole pages', () => {
    expect(dma.length).toBe(1 << 20)
    const small = memfdDma(1)
    expect(small.length).toBe(65536)
    const region = small.allocate(65536)
    small.free(region)
    small.close()
  })

  it('cannot be made shorter or longer by whoever has the file', () => {
    const region = dma.allocate(1 << 20)
    for (const size of ['0', '2M']) {
      expect(spawnSync('truncate', ['-s', size, `/proc/${process.pid}/fd/${dma.fd}`]).status).not.toBe(0)
    }
    region.bytes[region.length - 1] = 1
    expect(region.bytes.at(-1)).toBe(1)
    dma.free(region)
  })

  it('lets file and memory go when it is closed', () => {
    const maps = mappedFiles()
    const region = dma.allocate(64)
    region.bytes[0] = 1
    dma.free(region)
    dma.close()
    dma.close()
    expect(openFdCount()).toBe(before)
    expect(mappedFiles()).toBe(maps - 1)
    // Somebody who still looks must not take the process down.
    expect(region.bytes[0]).toBe(0)
    expect(() => dma.allocate(1)).toThrow(expect.objectContaining({ code: 'memory.unavailable' }))
  })

  it('stays open while a region is out', () => {
    const region = dma.allocate(64)
    region.bytes[0] = 5
    expect(() => dma.close()).toThrow(
      expect.objectContaining({ code: 'memory.in-use', message: expect.stringContaining('1 regions (64 bytes)') }),
    )
    const another = dma.allocate(64)
    another.bytes[0] = 6
    expect([region.bytes[0], another.bytes[0]]).toEqual([5, 6])
    dma.free(region)
    dma.free(another)
  })

  it('keeps memory in quarantine mapped', () => {
    const maps = mappedFiles()
    const region = dma.allocate(64)
    region.bytes[0] = 5
    dma.quarantine(region)
    dma.close()
    expect(openFdCount()).toBe(before)
    expect(mappedFiles()).toBe(maps)
    expect(region.bytes[0]).toBe(5)
  })

  it('refuses lengths that are none, and leaves nothing open', () => {
    const open = openFdCount()
    for (const length of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 50]) {
      expect(() => memfdDma(length)).toThrow(/.+/)
    }
    expect(() => memfdDma(4096, { deviceAddress: -1 })).toThrow(RangeError)
    expect(() => memfdDma(4096, { deviceAddress: 2 ** 53 - 1 })).toThrow(RangeError)
    expect(openFdCount()).toBe(open)
  })
})
