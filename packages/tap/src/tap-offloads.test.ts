import { describe, expect, it } from 'vitest'
import { offloadBits } from './tap-offloads.ts'

describe('offloadBits', () => {
  it('makes one bit of each, and two of `uso`', () => {
    expect(offloadBits({})).toBe(0)
    expect(offloadBits({ checksum: false, tso4: false })).toBe(0)
    expect(offloadBits({ checksum: true })).toBe(0x01)
    expect(offloadBits({ checksum: true, tso4: true })).toBe(0x03)
    expect(offloadBits({ checksum: true, tso6: true })).toBe(0x05)
    expect(offloadBits({ checksum: true, tso4: true, ecn: true })).toBe(0x0b)
    expect(offloadBits({ checksum: true, ufo: true })).toBe(0x11)
    expect(offloadBits({ checksum: true, uso: true })).toBe(0x61)
    expect(offloadBits({ checksum: true, tso4: true, tso6: true, ecn: true, ufo: true, uso: true })).toBe(0x7f)
  })

  it.each(['tso4', 'tso6', 'ecn', 'ufo', 'uso'])('refuses `%s` without `checksum`', (offload) => {
    expect(() => offloadBits({ [offload]: true })).toThrow(
      expect.objectContaining({ code: 'tap.offload-invalid', message: expect.stringContaining('checksum') }),
    )
  })

  it('refuses `ecn` without TCP segmentation', () => {
    expect(() => offloadBits({ checksum: true, ecn: true, uso: true })).toThrow(
      expect.objectContaining({ code: 'tap.offload-invalid', message: expect.stringContaining('tso4') }),
    )
  })
})
