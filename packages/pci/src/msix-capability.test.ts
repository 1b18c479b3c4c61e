import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ConfigSpace } from './config-space.fixture.ts'
import { findMsix, isMsixEnabled } from './msix-capability.ts'
import { PciError } from './pci-function.ts'

const msix = [0x11, 0, 0x03, 0x00, 0x01, 0x00, 0x00, 0x00, 0x04, 0x08, 0x00, 0x00]

describe('findMsix', () => {
  it('reads size, places and offset', () => {
    const space = ConfigSpace.withCapabilities([0x09, 0, 4, 1], msix)
    expect(findMsix(space)).toEqual({
      offset: 0x44,
      tableSize: 4,
      table: { bar: 1, offset: 0 },
      pendingBits: { bar: 4, offset: 0x800 },
    })
  })

  it('keeps offsets above 2 GiB positive, and the largest table', () => {
    const space = ConfigSpace.withCapabilities([0x11, 0, 0xff, 0x07, 0xfa, 0xff, 0xff, 0xff, 0xfd, 0xff, 0xff, 0xff])
    expect(findMsix(space)).toMatchObject({
      tableSize: 2048,
      table: { bar: 2, offset: 0xfffffff8 },
      pendingBits: { bar: 5, offset: 0xfffffff8 },
    })
  })

  it('is undefined without the capability', () => {
    expect(findMsix(ConfigSpace.withCapabilities([0x09, 0, 4, 1]))).toBeUndefined()
  })

  it.each([6, 7])('refuses a table in BAR %i', (bar) => {
    const spoilt = [...msix]
    spoilt[4] = bar
    expect(() => findMsix(ConfigSpace.withCapabilities(spoilt))).toThrowError(
      expect.objectContaining({ code: 'pci.cap-bounds' }),
    )
  })

  it('C1 any space with an MSI-X capability: sane numbers or a PciError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 12, maxLength: 12 }), (bytes) => {
        const space = ConfigSpace.withCapabilities([0x11, 0, ...bytes.subarray(2)])
        try {
          const found = findMsix(space)
          if (!found || found.tableSize < 1 || found.tableSize > 2048 || found.table.bar > 5 || found.table.offset < 0)
            throw new Error('insane')
        } catch (error) {
          expect(error).toBeInstanceOf(PciError)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('isMsixEnabled', () => {
  it('tells the enable bit from the mask bit', () => {
    const space = ConfigSpace.withCapabilities(msix)
    const found = findMsix(space)
    if (!found) throw new Error('no MSI-X')
    expect(isMsixEnabled(space, found)).toBe(false)
    space.bytes[0x43] = 0x40
    expect(isMsixEnabled(space, found)).toBe(false)
    space.bytes[0x43] = 0x80
    expect(isMsixEnabled(space, found)).toBe(true)
  })
})
