import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatAddress, parseAddress } from './pci-address.ts'

describe('PCI addresses', () => {
  it.each([
    ['00:03.0', '0000:00:03.0'],
    ['0000:00:1f.7', '0000:00:1f.7'],
    ['10000:e1:00.0', '10000:e1:00.0'],
    ['0:AB:1.2', '0000:ab:01.2'],
  ])('%s is %s', (text, full) => {
    expect(formatAddress(parseAddress(text))).toBe(full)
  })

  it.each([
    '',
    '3',
    '00:20.0',
    '00:03.8',
    '00:03',
    '000:00:03.0.0',
    '100:03.0',
    ' 00:03.0',
    '00:03.0\n',
    '00:0g.0',
    '../..',
  ])('refuses %j', (text) => {
    expect(() => parseAddress(text)).toThrowError(expect.objectContaining({ code: 'pci.address' }))
  })

  it('goes there and back', () => {
    const address = fc.record({
      domain: fc.integer({ min: 0, max: 0xffffffff }),
      bus: fc.integer({ min: 0, max: 255 }),
      device: fc.integer({ min: 0, max: 31 }),
      function: fc.integer({ min: 0, max: 7 }),
    })
    fc.assert(fc.property(address, (value) => void expect(parseAddress(formatAddress(value))).toEqual(value)))
  })
})
