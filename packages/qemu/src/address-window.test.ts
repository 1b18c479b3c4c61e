import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AddressWindow } from './address-window.ts'

describe('AddressWindow', () => {
  it('places on natural boundaries, fills gaps, and takes back', () => {
    const window = new AddressWindow('test', 0x1004, 0x2000)
    expect(window.allocate(0x10)).toBe(0x1010)
    expect(window.allocate(0x400)).toBe(0x1400)
    expect(window.allocate(0x10)).toBe(0x1020)
    expect(window.allocate(0x800)).toBe(0x1800)
    window.free(0x1400)
    expect(window.allocate(0x200)).toBe(0x1200)
    expect(window.allocate(0x400)).toBe(0x1400)
    expect(() => window.allocate(0x800)).toThrowError(expect.objectContaining({ code: 'qemu.exhausted' }))
  })

  it('whatever is taken and given back, what is out is aligned, inside, and apart', () => {
    const steps = fc.array(fc.record({ bits: fc.integer({ min: 0, max: 12 }), back: fc.nat({ max: 30 }) }), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(steps, fc.integer({ min: 0, max: 5000 }), (list, start) => {
        const window = new AddressWindow('test', start, start + 20_000)
        const out: { start: number; length: number }[] = []
        for (const { bits, back } of list) {
          const length = 2 ** bits
          try {
            out.push({ start: window.allocate(length), length })
          } catch {
            // full
          }
          const given = out[back]
          if (given !== undefined) {
            window.free(given.start)
            out.splice(back, 1)
          }
        }
        const sorted = out.toSorted((a, b) => a.start - b.start)
        return sorted.every(
          (piece, index) =>
            piece.start % piece.length === 0 &&
            piece.start >= window.start &&
            piece.start + piece.length <= (sorted[index + 1]?.start ?? window.end),
        )
      }),
      { numRuns: 300 },
    )
  })
})
