import { describe, expect, it } from 'vitest'
import { encodeNetHeader, netHeaderLength, parseNetHeader } from './net-header.ts'

const VERSION_1 = 1n << 32n
const MRG_RXBUF = 1n << 15n

describe('the header of a packet', () => {
  it.each([
    [0n, 10],
    [1n, 10],
    [MRG_RXBUF, 12],
    [VERSION_1, 12],
    [VERSION_1 | MRG_RXBUF, 12],
  ])('§ 5.1.6.1 with features 0x%s is %i bytes long', (features, length) => {
    expect(netHeaderLength(features)).toBe(length)
  })

  it('§ 5.1.6 has its fields where the specification has them', () => {
    const bytes = Uint8Array.of(1, 0x81, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)
    const header = {
      flags: 1,
      gsoType: 0x81,
      hdrLen: 0x302,
      gsoSize: 0x504,
      csumStart: 0x706,
      csumOffset: 0x908,
      numBuffers: 0xb0a,
    }
    expect(parseNetHeader(bytes)).toEqual(header)
    expect(encodeNetHeader(header, 12)).toEqual(bytes)
    expect(encodeNetHeader(header, 10)).toEqual(bytes.subarray(0, 10))
    expect(parseNetHeader(bytes.subarray(0, 10))).toEqual({ ...header, numBuffers: 0 })
  })
})
