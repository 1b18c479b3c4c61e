import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chainsOf, layOutPackets, type PacketLayoutOptions } from './packet-layout.ts'

const usual: PacketLayoutOptions = {
  headerLength: 12,
  maxFrame: 1514,
  receiveSegmentation: false,
  transmitSegmentation: false,
  mergeable: false,
  receiveChains: 256,
  transmitChains: 256,
}

describe('§ 5.1.6.3.1 receive buffers', () => {
  it('take 1526 bytes and more, however small the MTU', () => {
    expect(layOutPackets(usual).receive.length).toBeGreaterThanOrEqual(1526)
    expect(layOutPackets({ ...usual, maxFrame: 82 }).receive.length).toBeGreaterThanOrEqual(1526)
  })

  it('take a whole segmented packet without MRG_RXBUF', () => {
    const { receive } = layOutPackets({ ...usual, receiveSegmentation: true })
    expect(receive.length).toBeGreaterThanOrEqual(65_601)
    expect(receive.count).toBe(64)
  })

  it('take a frame of the MTU in two VLANs', () => {
    expect(layOutPackets({ ...usual, maxFrame: 9014 }).receive.length).toBeGreaterThanOrEqual(12 + 9014 + 8)
  })

  it('are 2112 bytes with MRG_RXBUF, and as long as was asked for', () => {
    const merged = { ...usual, mergeable: true, receiveSegmentation: true }
    expect(layOutPackets(merged).receive).toMatchObject({ length: 2112, stride: 2112, count: 256 })
    expect(layOutPackets({ ...merged, receiveBufferLength: 4096 }).receive).toMatchObject({
      length: 4096,
      stride: 4160,
    })
  })

  it('of a short queue take the longest packet together', () => {
    const { receive } = layOutPackets({ ...usual, mergeable: true, receiveSegmentation: true, receiveChains: 8 })
    expect(receive.length * receive.count).toBeGreaterThanOrEqual(65_601)
  })
})

describe('transmit slots', () => {
  it('come in one size where nothing is segmented, and two where it is', () => {
    expect(layOutPackets(usual).large.count).toBe(0)
    expect(layOutPackets({ ...usual, transmitSegmentation: true }).large).toMatchObject({ count: 32 })
    expect(layOutPackets({ ...usual, transmitSegmentation: true }).large.length).toBeGreaterThanOrEqual(
      16 + 65_535 + 14,
    )
  })

  it('take jumbo frames in their own row, and longer ones in the large one', () => {
    expect(layOutPackets({ ...usual, maxFrame: 9014 }).small.length).toBeGreaterThanOrEqual(16 + 9014 + 8)
    const { small, large } = layOutPackets({ ...usual, maxFrame: 65_549 })
    expect(small.length).toBe(16 + 2048)
    expect(large.length).toBeGreaterThanOrEqual(16 + 65_549 + 8)
    expect(large.count).toBe(32)
  })
})

describe('rows', () => {
  it('do not overlap, are aligned, and have a stride that is no power of two', () => {
    const options = fc.record({
      headerLength: fc.constantFrom<10 | 12>(10, 12),
      maxFrame: fc.integer({ min: 82, max: 65_549 }),
      receiveSegmentation: fc.boolean(),
      transmitSegmentation: fc.boolean(),
      mergeable: fc.boolean(),
      receiveChains: fc.integer({ min: 1, max: 1024 }),
      transmitChains: fc.integer({ min: 1, max: 1024 }),
      receiveBufferLength: fc.option(fc.integer({ min: 64, max: 65_536 }), { nil: undefined }),
    })
    fc.assert(
      fc.property(options, (random) => {
        const { receive, small, large, length } = layOutPackets(random)
        let end = 0
        for (const row of [receive, small, large]) {
          expect(row.offset).toBeGreaterThanOrEqual(end)
          expect(row.offset % 64).toBe(0)
          expect(row.stride).toBeGreaterThanOrEqual(row.length)
          expect(Number.isInteger(Math.log2(row.stride))).toBe(false)
          end = row.offset + row.count * row.stride
        }
        expect(length).toBeGreaterThanOrEqual(end)
        expect(receive.count).toBeGreaterThan(0)
        expect(small.count).toBeGreaterThan(0)
      }),
      { numRuns: 1000 },
    )
  })

  it.each([0, -1, 1.5, Number.NaN])('of %d buffers cannot be', (count) => {
    expect(() => layOutPackets({ ...usual, receiveBuffers: count })).toThrow(RangeError)
    expect(() => layOutPackets({ ...usual, transmitBuffers: count })).toThrow(RangeError)
  })

  it.each([63, 65_537, 100.5])('of merged buffers of %d bytes cannot be', (receiveBufferLength) => {
    expect(() => layOutPackets({ ...usual, mergeable: true, receiveBufferLength })).toThrow(RangeError)
  })
})

describe('chains', () => {
  it('take one descriptor each in indirect tables, and all of theirs without', () => {
    expect(chainsOf(256, 1, false)).toBe(256)
    expect(chainsOf(256, 2, false)).toBe(128)
    expect(chainsOf(256, 2, true)).toBe(256)
    expect(() => chainsOf(1, 2, true)).toThrow(expect.objectContaining({ code: 'net.queue-size' }))
  })
})
