import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkIova, placeIova, usableRanges } from './iova-place.ts'
import type { IovaRange } from './vfio-structs.ts'

const MIB = 1024 * 1024
const measured: IovaRange[] = [
  { start: 0n, end: 0xfedf_ffffn },
  { start: 0xfef0_0000n, end: 0x7f_ffff_ffffn },
]

describe('device addresses', () => {
  it('begin at 2 MiB, not at 0', () => {
    expect(placeIova({ ranges: measured, pageLength: 4096 }, 64 * MIB, 2 * MIB)).toBe(2 * MIB)
  })

  it('go behind the window for messages when there is no room before it', () => {
    expect(placeIova({ ranges: measured, pageLength: 4096 }, 4096 * MIB, 2 * MIB)).toBe(0xff00_0000)
  })

  it('never are those of the window, whatever the kernel says of it', () => {
    expect(usableRanges({ pageLength: 4096, ranges: [{ start: 0n, end: 0xffff_ffffn }] })).toEqual([
      { start: 0n, end: 0xfedf_ffffn },
      { start: 0xfef0_0000n, end: 0xffff_ffffn },
    ])
    expect(usableRanges({ pageLength: 4096, ranges: [{ start: 0xfee1_0000n, end: 0xfee2_0000n }] })).toEqual([])
    expect(usableRanges({ pageLength: 4096 })[0]).toEqual({ start: 0n, end: 0xfedf_ffffn })
  })

  it('are refused when they are reserved, unaligned, or nowhere to be had', () => {
    const info = { ranges: measured, pageLength: 4096 }
    const reserved = expect.objectContaining({ code: 'pci.iova-reserved' })
    for (const at of [0xfee0_0000, 0xfedf_f000, 0xfeef_f000, 0x80_0000_0000, 0x20_0800])
      expect(() => checkIova(info, at, 2 * 4096)).toThrow(reserved)
    for (const at of [0x20_0000, 0xfedf_e000, 0xfef0_0000]) checkIova(info, at, 2 * 4096)
    expect(() => placeIova(info, 2 ** 40, 4096)).toThrow(reserved)
    expect(() => placeIova({ ranges: [], pageLength: 4096 }, 4096, 4096)).toThrow(reserved)
  })

  it('any ranges: a place within one, aligned, not in the window, exact; or a PciError', () => {
    const range = fc
      .tuple(fc.bigInt({ min: 0n, max: 1n << 56n }), fc.bigInt({ min: 0n, max: 1n << 56n }))
      .map(([a, b]): IovaRange => (a < b ? { start: a, end: b } : { start: b, end: a }))
    fc.assert(
      fc.property(fc.array(range, { maxLength: 4 }), fc.integer({ min: 1, max: 2 ** 34 }), (ranges, length) => {
        let at: number
        try {
          at = placeIova({ ranges, pageLength: 4096 }, length, 2 * MIB)
        } catch (error) {
          return (error as { code: string }).code === 'pci.iova-reserved'
        }
        const end = at + length - 1
        return (
          ranges.some(({ start, end: last }) => BigInt(at) >= start && BigInt(end) <= last) &&
          at % (2 * MIB) === 0 &&
          at > 0 &&
          (end < 0xfee0_0000 || at > 0xfeef_ffff) &&
          Number.isSafeInteger(end)
        )
      }),
    )
  })
})
