import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PciCapabilityId, walkCapabilities } from './capability-list.ts'
import { ConfigSpace } from './config-space.fixture.ts'
import { PciError } from './pci-function.ts'

const errorOf = (body: () => unknown): unknown => {
  try {
    body()
  } catch (error) {
    return error
  }
  return undefined
}

describe('walkCapabilities', () => {
  it('lists capabilities in list order with their lengths', () => {
    const space = ConfigSpace.withCapabilities(
      [0x09, 0, 16, 1],
      [0x11, 0, 3, 0, 0, 0, 0, 0, 0, 8, 0, 0],
      [0x10, 0, 2, 0],
      [0x01, 0, 0, 0],
    )
    expect(walkCapabilities(space)).toEqual([
      { id: PciCapabilityId.VENDOR_SPECIFIC, offset: 0x40, length: 16 },
      { id: PciCapabilityId.MSIX, offset: 0x44, length: 12 },
      { id: PciCapabilityId.PCI_EXPRESS, offset: 0x50, length: 2 },
      { id: PciCapabilityId.POWER_MANAGEMENT, offset: 0x54, length: 8 },
    ])
  })

  it('finds nothing when the status register says there is no list', () => {
    const space = ConfigSpace.withCapabilities([0x09, 0, 16, 1])
    space.bytes[0x06] = 0
    expect(walkCapabilities(space)).toEqual([])
  })

  it('walks the longest list that fits: 48 capabilities', () => {
    const space = ConfigSpace.withCapabilities(...Array.from({ length: 48 }, () => [0x42, 0, 0, 0]))
    expect(walkCapabilities(space)).toHaveLength(48)
  })

  it.each([
    ['C1 a capability that points to itself', 'pci.cap-loop', (s: ConfigSpace) => s.bytes.set([0x09, 0x40, 16], 0x40)],
    ['C1 a capability that points back', 'pci.cap-loop', (s: ConfigSpace) => void (s.bytes[0x51] = 0x40)],
    ['C1 a pointer that is not a multiple of 4', 'pci.cap-bounds', (s: ConfigSpace) => void (s.bytes[0x41] = 0x51)],
    ['C1 a pointer into the header', 'pci.cap-bounds', (s: ConfigSpace) => void (s.bytes[0x41] = 0x10)],
    ['C1 a first pointer into the header', 'pci.cap-bounds', (s: ConfigSpace) => void (s.bytes[0x34] = 0x3c)],
    ['C2 a length that reaches beyond the space', 'pci.cap-bounds', (s: ConfigSpace) => void (s.bytes[0x42] = 0xc1)],
    ['C6 a function that is gone', 'pci.gone', (s: ConfigSpace) => s.bytes.fill(0xff)],
  ])('%s: %s', (_, code, spoil) => {
    const space = ConfigSpace.withCapabilities([0x09, 0, 16, 1, ...Array(12).fill(0)], [0x09, 0, 20, 2])
    spoil(space)
    const error = errorOf(() => walkCapabilities(space))
    expect(error).toBeInstanceOf(PciError)
    expect(error).toMatchObject({ code })
  })

  it('takes a length that ends exactly with the space', () => {
    const space = ConfigSpace.withCapabilities([0x09, 0, 0xc0, 1])
    expect(walkCapabilities(space)).toEqual([{ id: 9, offset: 0x40, length: 0xc0 }])
  })

  // Random bytes rarely hold a list, so these spaces have one and, half of them, aligned pointers.
  const asSpace = (bytes: Uint8Array): ConfigSpace => {
    bytes[0x06] = (bytes[0x06] ?? 0) | 0x10
    if ((bytes[0] ?? 0) & 1) for (let at = 0x34; at < 256; at++) bytes[at] = (bytes[at] ?? 0) & 0xfc
    return new ConfigSpace(bytes)
  }

  /** At most 48 places, each once, inside the space, or a PciError; and few reads either way. */
  const checkWalk = (space: ConfigSpace): boolean => {
    try {
      const found = walkCapabilities(space)
      if (found.length > 48 || new Set(found.map(({ offset }) => offset)).size !== found.length) return false
      return (
        space.reads < 200 &&
        found.every(({ offset, length }) => offset >= 0x40 && offset % 4 === 0 && offset + length <= 256)
      )
    } catch (error) {
      return space.reads < 200 && error instanceof PciError
    }
  }

  it('C1 any 256 bytes give places inside the space, each once, or a PciError', () => {
    const anySpace = fc.uint8Array({ minLength: 256, maxLength: 256 }).map(asSpace)
    fc.assert(fc.property(anySpace, checkWalk), { numRuns: 1_000 })
  })

  it('C1 so do 100 000 more', () => {
    // fast-check's arrays shrink well but are slow to make: here it only picks the seeds.
    const seededSpace = fc.integer({ min: 1, max: 0x7fffffff }).map((seed) => {
      const words = new Uint32Array(64)
      let state = seed
      for (let i = 0; i < words.length; i++) {
        state ^= state << 13
        state ^= state >>> 17
        state ^= state << 5
        words[i] = state
      }
      return asSpace(new Uint8Array(words.buffer))
    })
    fc.assert(fc.property(seededSpace, checkWalk), { numRuns: 100_000 })
  })
})
