import { describe, expect, it } from 'vitest'
import { copyAll } from './copy-all.ts'
import type { CopySource, CopyTarget } from './copy-ends.ts'

const MIB = 1 << 20

class MemoryEnds implements CopySource, CopyTarget {
  readonly granule: number = 4096
  readonly from: Buffer
  readonly to: Buffer
  readonly zeroed: string[] = []
  reading = 0
  mostReading = 0
  failAt: number | undefined

  constructor(size: number) {
    this.from = Buffer.alloc(size)
    this.to = Buffer.alloc(size, 0xee)
  }

  get size(): number {
    return this.from.length
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.mostReading = Math.max(this.mostReading, ++this.reading)
    await new Promise((resolve) => setImmediate(resolve))
    this.reading--
    if (this.failAt !== undefined && offset === this.failAt) throw new Error(`cannot read at ${this.failAt}`)
    return Uint8Array.from(this.from.subarray(offset, offset + length))
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.to.set(bytes, offset)
  }

  async zero(offset: number, length: number): Promise<void> {
    this.zeroed.push(`${offset} ${length}`)
    this.to.fill(0, offset, offset + length)
  }

  async finish(): Promise<void> {}

  async abandon(): Promise<undefined> {}
}

describe('copying everything', () => {
  const { signal } = new AbortController()

  it('writes data, zeroes the rest, counts both, and tells how far it is', async () => {
    const ends = new MemoryEnds(5 * MIB + 100)
    ends.from.fill(7, 3 * MIB + 5000, 3 * MIB + 5001)
    ends.from.fill(9, 5 * MIB, 5 * MIB + 100)
    const seen: number[] = []
    const result = await copyAll(ends, ends, signal, (done) => seen.push(done))
    expect(result).toEqual({ bytes: ends.size, data: 4096 + 100, zeroes: 5 * MIB - 4096 })
    expect(ends.to.equals(ends.from)).toBe(true)
    expect(ends.zeroed.sort()).toContain(`${3 * MIB + 8192} ${MIB - 8192}`)
    expect(seen.at(-1)).toBe(ends.size)
    expect(seen).toEqual([...seen].sort((a, b) => a - b))
    expect(ends.mostReading).toBe(4)
  })

  it('copies nothing of nothing', async () => {
    expect(await copyAll(new MemoryEnds(0), new MemoryEnds(0), signal, () => {})).toEqual({
      bytes: 0,
      data: 0,
      zeroes: 0,
    })
  })

  it('begins nothing new after a failure or an abort, and rejects when nothing is under way', async () => {
    const ends = new MemoryEnds(64 * MIB)
    ends.failAt = 8 * MIB
    await expect(copyAll(ends, ends, signal, () => {})).rejects.toThrow('cannot read')
    expect(ends.reading).toBe(0)
    expect(ends.zeroed.length).toBeLessThan(16)
    const aborted = new AbortController()
    const other = new MemoryEnds(64 * MIB)
    const copying = copyAll(other, other, aborted.signal, (done) => done >= 4 * MIB && aborted.abort('SIGINT'))
    await expect(copying).rejects.toBe('SIGINT')
    expect([other.reading, other.zeroed.length < 16]).toEqual([0, true])
  })
})
