import { describe, expect, it } from 'vitest'
import { headerComment } from './header-comment.ts'

describe('headerComment', () => {
  it.each([
    ['000000000000000000000100', 'flags=0 gso_type=NONE hdr_len=0 gso_size=0 csum_start=0 csum_offset=0 num_buffers=1'],
    [
      '01013600b405220010000000',
      'flags=NEEDS_CSUM gso_type=TCPV4 hdr_len=54 gso_size=1460 csum_start=34 csum_offset=16 num_buffers=0',
    ],
    [
      '03840000000000000000',
      'flags=NEEDS_CSUM|DATA_VALID gso_type=TCPV6|ECN hdr_len=0 gso_size=0 csum_start=0 csum_offset=0',
    ],
    [
      'f47f00000000000000000200',
      'flags=RSC_INFO|0xf0 gso_type=0x7f hdr_len=0 gso_size=0 csum_start=0 csum_offset=0 num_buffers=2',
    ],
  ])('§ 5.1.6 spells out the fields of %s', (hex, fields) => {
    expect(headerComment(Buffer.from(hex, 'hex'))).toBe(`virtio_net_hdr ${fields}`)
  })

  it('says so when the header is shorter than any', () => {
    expect(headerComment(new Uint8Array(9))).toBe('virtio_net_hdr cut off at 9 bytes')
    expect(headerComment(new Uint8Array(0))).toBe('virtio_net_hdr cut off at 0 bytes')
  })

  it('reads a header in the middle of a buffer', () => {
    const bytes = new Uint8Array(40).fill(0xff)
    bytes.set([1, 0, 0, 0, 0, 0, 34, 0, 6, 0], 13)
    expect(headerComment(bytes.subarray(13, 23))).toContain(
      'flags=NEEDS_CSUM gso_type=NONE hdr_len=0 gso_size=0 csum_start=34 csum_offset=6',
    )
  })
})
