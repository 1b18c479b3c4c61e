import { readFileSync } from 'node:fs'
import { close, memfdCreate, openFdCount, truncate } from '@virtio-ts/native'
import { describe, expect, it } from 'vitest'
import type { HugePageFile } from './huge-page-file.ts'
import { physicalAddress } from './page-map.ts'
import { PhysicalDma } from './physical-dma.ts'

const PAGE = 0x2_0000

/** Ordinary pages in place of huge ones, at physical addresses of the test's choice: the n-th page of the file lies at `places[n]`. */
function pagesAt(...places: readonly number[]): { file: HugePageFile; pageMap: (address: number) => number } {
  const fd = memfdCreate('physical')
  truncate(fd, places.length * PAGE)
  const pageMap = (address: number): number => places[Math.floor(fileOffset(address) / PAGE)] as number
  return { file: { fd, length: places.length * PAGE, pageLength: PAGE }, pageMap }
}

/** Where in its file the memory at an address is, as the kernel has it. */
function fileOffset(address: number): number {
  for (const line of readFileSync('/proc/self/maps', 'utf8').split('\n')) {
    const [, start = '', end = '', offset = ''] = /^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+)/.exec(line) ?? []
    const from = Number.parseInt(start, 16)
    if (address >= from && address < Number.parseInt(end, 16)) return Number.parseInt(offset, 16) + address - from
  }
  throw new Error(`nothing is mapped at ${address}`)
}

describe('PhysicalDma', () => {
  it('joins pages that lie side by side, in whatever order the file has them', () => {
    const { file, pageMap } = pagesAt(0x80_0000, 0x40_0000 + PAGE, 0x40_0000)
    const dma = new PhysicalDma(file, pageMap)
    expect(dma.runs.map(({ physicalAddress: at, length }) => [at, length])).toEqual([
      [0x40_0000, 2 * PAGE],
      [0x80_0000, PAGE],
    ])
    dma.close()
  })

  it('never lets a region cross from one page to another that is elsewhere', () => {
    const { file, pageMap } = pagesAt(0x80_0000, 0x40_0000)
    const dma = new PhysicalDma(file, pageMap)
    const first = dma.allocate(PAGE - 64)
    const second = dma.allocate(128)
    expect([first.deviceAddress, second.deviceAddress]).toEqual([0x40_0000, 0x80_0000])
    expect(() => dma.allocate(PAGE + 1)).toThrow(
      expect.objectContaining({ code: 'memory.exhausted', message: expect.stringContaining(`${PAGE} bytes`) }),
    )
    expect(dma.stats).toEqual({ allocatedBytes: PAGE + 64, allocatedRegions: 2, quarantinedBytes: 0 })
    second.bytes.fill(7)
    expect(first.bytes.every((byte) => byte === 0)).toBe(true)
    dma.free(first)
    dma.free(second)
    expect(() => dma.free(second)).toThrow(expect.objectContaining({ code: 'memory.not-allocated' }))
    dma.close()
  })

  it('stays while a region is out, and gives the file back afterwards', () => {
    const before = openFdCount()
    const { file, pageMap } = pagesAt(0x40_0000)
    const dma = new PhysicalDma(file, pageMap)
    const region = dma.allocate(64)
    expect(() => dma.close()).toThrow(expect.objectContaining({ code: 'memory.in-use' }))
    dma.quarantine(region)
    expect(dma.stats).toMatchObject({ allocatedRegions: 0, quarantinedBytes: 64 })
    dma.close()
    dma.close()
    region.bytes.fill(1)
    expect(() => dma.allocate(1)).toThrow(expect.objectContaining({ code: 'memory.unavailable' }))
    expect(openFdCount()).toBe(before)
  })

  it('leaves the file to its owner when addresses are not to be had', () => {
    const { file } = pagesAt(0x40_0000)
    const refuse = (): number => {
      throw new Error('hidden')
    }
    expect(() => new PhysicalDma(file, refuse)).toThrow('hidden')
    close(file.fd)
  })
})

describe('physicalAddress', () => {
  it('says what it lacks of a page that is not there', () => {
    expect(() => physicalAddress(0x1000)).toThrow(expect.objectContaining({ code: 'memory.no-physical-address' }))
  })
})
