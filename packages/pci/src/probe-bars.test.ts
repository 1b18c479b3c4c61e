import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConfigSpace } from './config-space.fixture.ts'
import { PciError } from './pci-function.ts'
import { probeBars } from './probe-bars.ts'

/** Registers as [value, writable bits], from BAR 0 on. */
function spaceWith(...registers: readonly (readonly [number, number])[]): ConfigSpace {
  const space = new ConfigSpace()
  space.bytes.set([0xf4, 0x1a, 0x41, 0x10, 0x07, 0x00], 0)
  space.writable.fill(0xff, 4, 6)
  const values = new DataView(space.bytes.buffer)
  const masks = new DataView(space.writable.buffer)
  registers.forEach(([value, mask], index) => {
    values.setUint32(0x10 + 4 * index, value, true)
    masks.setUint32(0x10 + 4 * index, mask, true)
  })
  return space
}

describe('probeBars', () => {
  it('sizes I/O, 32-bit and 64-bit registers and leaves everything as it was', () => {
    const space = spaceWith(
      [0xc001, 0xffffffe0],
      [0xe0000000, 0xfffff000],
      [0, 0],
      [0, 0],
      [0x0000000c, 0xffffc000],
      [0x8, 0xffffffff],
    )
    const before = space.bytes.slice()
    expect(probeBars(space)).toEqual([
      { index: 0, kind: 'io', length: 32, is64Bit: false, prefetchable: false, address: 0xc000 },
      { index: 1, kind: 'memory', length: 4096, is64Bit: false, prefetchable: false, address: 0xe0000000 },
      { index: 4, kind: 'memory', length: 16384, is64Bit: true, prefetchable: true, address: 0x8_0000_0000 },
    ])
    expect(space.bytes).toEqual(before)
  })

  it('sizes a register whose lower half is all fixed: 8 GiB', () => {
    expect(probeBars(spaceWith([0x4, 0], [0, 0xfffffffe]))).toMatchObject([{ length: 0x2_0000_0000, is64Bit: true }])
  })

  it('sizes an I/O register of 16 bits', () => {
    expect(probeBars(spaceWith([1, 0xffc0]))).toMatchObject([{ kind: 'io', length: 64 }])
  })

  it('switches decoding off while it sizes', () => {
    const space = spaceWith([0, 0xfffff000])
    const commands: number[] = []
    const write = space.configWrite32.bind(space)
    space.configWrite32 = (offset, value) => {
      commands.push(space.bytes[4] ?? 0)
      write(offset, value)
    }
    probeBars(space)
    expect(new Set(commands)).toEqual(new Set([0x04]))
    expect(space.bytes[4]).toBe(0x07)
  })

  it.each([
    ['holes in the mask', [[0, 0xff00f000]]],
    ['the reserved type', [[6, 0xfffff000]]],
    [
      '64 bits in the last register',
      [
        [0, 0],
        [0, 0],
        [0, 0],
        [0, 0],
        [0, 0],
        [4, 0xfffff000],
      ],
    ],
    [
      'more than 2^53 bytes',
      [
        [4, 0],
        [0, 0x80000000],
      ],
    ],
    ['no writable bit', [[8, 0]]],
  ] as const)('refuses a register with %s, and still switches decoding on again', (_, registers) => {
    const space = spaceWith(...registers)
    expect(() => probeBars(space)).toThrowError(expect.objectContaining({ code: 'pci.no-bar' }))
    expect(space.bytes[4]).toBe(0x07)
  })

  it('C6 says so when the function is gone', () => {
    expect(() => probeBars(new ConfigSpace(new Uint8Array(256).fill(0xff)))).toThrowError(
      expect.objectContaining({ code: 'pci.gone' }),
    )
  })

  it('any registers: powers of two or a PciError', () => {
    const word = fc.integer({ min: 0, max: 0xffffffff })
    const register = fc.oneof(
      fc.tuple(word, word),
      fc.tuple(
        fc.integer({ min: 0, max: 15 }),
        fc.integer({ min: 0, max: 31 }).map((bit) => (0xffffffff << bit) >>> 0),
      ),
    )
    fc.assert(
      fc.property(fc.array(register, { minLength: 6, maxLength: 6 }), (registers) => {
        const space = spaceWith(...registers)
        const before = space.bytes.slice()
        const restored = (): boolean => space.bytes.every((byte, i) => byte === before[i])
        try {
          return probeBars(space).every(({ length }) => Number.isInteger(Math.log2(length))) && restored()
        } catch (error) {
          return error instanceof PciError && restored()
        }
      }),
      { numRuns: 5_000 },
    )
  })
})
