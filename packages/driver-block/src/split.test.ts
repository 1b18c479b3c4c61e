import { deviceAddress, type DmaRegion } from '@virtio-ts/memory'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteList } from './byte-list.ts'
import { eachPart } from './each-part.ts'
import { sliceOf, splitBuffers } from './split-buffers.ts'
import { splitRange, splitTransfer } from './split-range.ts'

const sectors = fc.integer({ min: 0, max: 5000 })

describe('cutting', () => {
  it('§ 5.2.6.1 a range: nothing left out, nothing twice, no limit passed', () => {
    const limits = fc.record({
      maxSectors: fc.integer({ min: 1, max: 300 }),
      maxSegments: fc.integer({ min: 1, max: 40 }),
      alignment: fc.integer({ min: 1, max: 64 }),
    })
    fc.assert(
      fc.property(sectors, sectors, limits, fc.constantFrom(512, 1024, 4096), (from, count, limit, blockSize) => {
        const unit = blockSize / 512
        const part = { offset: from * blockSize, length: count * blockSize }
        let next = from * unit
        for (const segments of splitRange(part, limit, blockSize, true)) {
          expect(segments.length).toBeLessThanOrEqual(Math.min(16, limit.maxSegments))
          for (const { sector, count: length, unmap } of segments) {
            expect([sector, unmap, length > 0, length % unit]).toEqual([next, true, true, 0])
            expect(length).toBeLessThanOrEqual(Math.max(unit, limit.maxSectors))
            next += length
          }
        }
        expect(next).toBe((from + count) * unit)
      }),
    )
  })

  it('a transfer: nothing left out, no zone crossed', () => {
    const zone = fc.constantFrom(0, 16, 100)
    fc.assert(
      fc.property(sectors, sectors, fc.integer({ min: 1, max: 64 }), zone, (from, count, most, zoneSize) => {
        let next = from
        for (const { offset, length } of splitTransfer(from, count, most, zoneSize)) {
          expect([offset, length > 0 && length <= most]).toEqual([next, true])
          if (zoneSize > 0) expect(Math.floor(offset / zoneSize)).toBe(Math.floor((offset + length - 1) / zoneSize))
          next += length
        }
        expect(next).toBe(from + count)
      }),
    )
  })

  it('buffers: every byte once, in order, within the limits', () => {
    const unit = 64
    const lengths = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1, maxLength: 30 })
    const limits = fc.record({ sizeMax: fc.integer({ min: unit, max: 300 }), segMax: fc.integer({ min: 1, max: 6 }) })
    fc.assert(
      fc.property(lengths, limits, fc.constantFrom(0, 128, 640), (sizes, { sizeMax, segMax }, zoneSize) => {
        const sum = sizes.reduce((total, size) => total + size, 0)
        const whole = [...sizes, (unit - (sum % unit)) % unit]
        const region = regionOf(whole.reduce((total, size) => total + size, 0) + whole.length)
        let at = 0
        const buffers = whole.map((length) => {
          const offset = at
          at += length + 1
          return { region, offset, length }
        })
        const most = Math.max(unit, Math.floor((segMax * sizeMax) / unit) * unit)
        const bytes: number[] = []
        let next = 0
        for (const part of splitBuffers(buffers, 0, { sizeMax, segMax, most, unit, zoneSize })) {
          expect([part.offset, part.length % unit, part.length > 0]).toEqual([next, 0, true])
          expect(part.segments.reduce((total, { length }) => total + length, 0)).toBe(part.length)
          if (part.copied) expect(part.length).toBe(unit)
          else {
            expect(part.segments.length).toBeLessThanOrEqual(segMax)
            expect(part.length).toBeLessThanOrEqual(most)
          }
          for (const { offset, length } of part.segments) {
            expect(length > 0 && length <= sizeMax).toBe(true)
            for (let n = 0; n < length; n++) bytes.push(offset + n)
          }
          if (zoneSize > 0)
            expect(Math.floor(part.offset / zoneSize)).toBe(Math.floor((part.offset + part.length - 1) / zoneSize))
          next += part.length
        }
        expect(bytes).toEqual(buffers.flatMap(({ offset, length }) => Array.from({ length }, (_, n) => offset + n)))
      }),
    )
  })

  it.each([
    [0, 101],
    [-1, 10],
    [50, 51],
    [0.5, 10],
    [0, Number.NaN],
  ])('a stretch from %d of %d bytes outside of its region is refused', (offset, length) => {
    expect(() => sliceOf({ region: regionOf(100), offset, length })).toThrow(RangeError)
  })
})

describe('a list of arrays', () => {
  it('is one array', () => {
    const arrays = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 10 })
    fc.assert(
      fc.property(arrays, fc.nat(200), fc.nat(200), (list, a, b) => {
        const one = Uint8Array.from(Buffer.concat(list))
        const bytes = new ByteList(list)
        expect(bytes.length).toBe(one.length)
        const [from, to] = [Math.min(a, b, one.length), Math.min(Math.max(a, b), one.length)]
        const part = new Uint8Array(to - from)
        bytes.copyTo(part, from)
        expect(part).toEqual(one.slice(from, to))
        const reversed = part.slice().reverse()
        bytes.copyFrom(reversed, from)
        one.set(reversed, from)
        expect(Uint8Array.from(Buffer.concat(list))).toEqual(one)
      }),
    )
  })
})

describe('parts of an operation', () => {
  it('fail with the first failure, when all that were begun have ended, and no new ones are begun', async () => {
    const begun: number[] = []
    const ended: number[] = []
    const work = eachPart([0, 1, 2, 3, 4, 5, 6, 7], 4, async (part) => {
      begun.push(part)
      await new Promise((resolve) => setTimeout(resolve, part === 1 ? 20 : 2))
      ended.push(part)
      if (part === 1 || part === 3) throw new Error(`part ${part}`)
    })
    await expect(work).rejects.toThrow('part 1')
    expect(ended.toSorted((a, b) => a - b)).toEqual(begun)
    expect(begun.length).toBeLessThan(8)
  })
})

function regionOf(length: number): DmaRegion {
  return { bytes: new Uint8Array(length), deviceAddress: deviceAddress(0), length }
}
