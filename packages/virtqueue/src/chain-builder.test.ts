import { describe, expect, it } from 'vitest'
import { at } from './testing/ring-bench.ts'
import { ChainBuilder } from './chain-builder.ts'

describe('ChainBuilder', () => {
  it('counts buffers and writable bytes, and starts again after clear', () => {
    const chain = new ChainBuilder(3)
      .addReadable(at(0x1000), 16)
      .addWritable(at(0x2000), 512)
      .addWritable(at(0x3000), 1)
    expect([chain.count, chain.readable, chain.writableLength]).toEqual([3, 1, 513])
    expect([...chain.addresses]).toEqual([0x1000, 0x2000, 0x3000])
    expect([...chain.lengths]).toEqual([16, 512, 1])
    chain.clear()
    expect([chain.count, chain.readable, chain.writableLength]).toEqual([0, 0, 0])
    chain.addReadable(at(1), 1).addReadable(at(2), 2).addReadable(at(3), 3)
    expect(chain.readable).toBe(3)
  })

  it('§ 2.7.4.2: refuses a readable buffer after a writable one', () => {
    const chain = new ChainBuilder(2).addWritable(at(0), 1)
    expect(() => chain.addReadable(at(0), 1)).toThrow(RangeError)
    expect(chain.count).toBe(1)
  })

  it('refuses a buffer too many', () => {
    const chain = new ChainBuilder(1).addReadable(at(0), 1)
    expect(() => chain.addReadable(at(0), 1)).toThrow('a chain of more than 1 buffers')
    expect(() => chain.addWritable(at(0), 1)).toThrow(RangeError)
  })

  it.each([0, -1, 0.5, Number.NaN, 2 ** 32, Number.POSITIVE_INFINITY])('refuses a length of %s', (length) => {
    expect(() => new ChainBuilder(1).addReadable(at(0), length)).toThrow(RangeError)
    expect(() => new ChainBuilder(1).addWritable(at(0), length)).toThrow(RangeError)
  })

  it('§ 2.7.5.2: refuses more than 2^32 bytes in total, and takes exactly that many', () => {
    const chain = new ChainBuilder(3).addReadable(at(0), 1).addWritable(at(0), 0xffffffff)
    expect(() => chain.addWritable(at(0), 1)).toThrow('2^32')
    expect(chain.count).toBe(2)
    expect(chain.clear().addWritable(at(0), 0xffffffff).count).toBe(1)
  })
})
