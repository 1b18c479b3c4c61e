import { describe, expect, it } from 'vitest'
import { be16, checksum, DRIVER_MAC, ethernet, ipv4, PEER_MAC, pseudo, udp } from '../../test-support/frames.ts'
import { internetChecksum } from './internet-checksum.ts'
import { completeChecksum, toWire } from './segmentation.ts'

const A = [10, 0, 0, 2]
const B = [10, 0, 0, 1]
const plain = { flags: 0, gsoType: 0, gsoSize: 0, csumStart: 0, csumOffset: 0 }
const payloadOf = (length: number): number[] => Array.from({ length }, (_, n) => (n * 7) & 0xff)

/** TCP with the pseudo header's sum in the checksum field, as a driver leaves it. */
function tcp(
  version: 4 | 6,
  sequence: number,
  flags: number,
  payload: readonly number[],
  options: number[] = [],
): number[] {
  const length = 20 + options.length + payload.length
  const head = version === 4 ? pseudo(6, A, B, length) : [...v6(1), ...v6(2), 0, 0, ...be16(length), 0, 0, 0, 6]
  return [
    ...be16(1000),
    ...be16(80),
    ...be16(sequence >>> 16),
    ...be16(sequence & 0xffff),
    0,
    0,
    0,
    1,
    ((20 + options.length) / 4) << 4,
    flags,
    ...be16(512),
    ...be16(0xffff - checksum(head)),
    0,
    0,
    ...options,
    ...payload,
  ]
}

const v6 = (last: number): number[] => [0xfe, 0x80, ...Array.from({ length: 13 }, () => 0), last]
const ipv6 = (next: number, payload: readonly number[]): number[] => [
  0x60,
  0,
  0,
  0,
  ...be16(payload.length),
  next,
  64,
  ...v6(1),
  ...v6(2),
  ...payload,
]

describe('checksums', () => {
  it('are those of RFC 1071', () => {
    // The example of its section 3.
    expect(internetChecksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7))).toBe(0xffff - 0xddf2)
    expect(internetChecksum(Uint8Array.of(0xff, 0xff, 0x00))).toBe(0)
    expect(internetChecksum(Uint8Array.of(1))).toBe(0xfeff)
    // What lies behind an odd end does not count.
    expect(internetChecksum(Uint8Array.of(9, 1, 2, 3, 9, 9), 1, 4)).toBe(checksum([1, 2, 3]))
    for (let length = 0; length < 40; length++)
      expect(internetChecksum(Uint8Array.from(payloadOf(length)))).toBe(checksum(payloadOf(length)))
  })

  it('§ 5.1.6.2 are filled in from csum_start to the end', () => {
    const whole = ethernet(PEER_MAC, DRIVER_MAC, 0x800, ipv4(17, A, B, udp(A, B, 5, 6, payloadOf(33))))
    const partial = ethernet(PEER_MAC, DRIVER_MAC, 0x800, ipv4(17, A, B, udp(A, B, 5, 6, payloadOf(33), true)))
    expect(partial).not.toEqual(whole)
    expect(completeChecksum(partial, { csumStart: 34, csumOffset: 6 })).toEqual(whole)
    expect(toWire(partial, { ...plain, flags: 1, csumStart: 34, csumOffset: 6 })).toEqual([whole])
    expect(toWire(partial, { ...plain, csumStart: 34, csumOffset: 6 })).toEqual([partial])
    expect(toWire(partial, { ...plain, flags: 1, csumStart: 34, csumOffset: partial.length - 35 })).toBeUndefined()
  })

  it('never leave 0 in UDP, which would say that there is none', () => {
    // The payload is the word that brings the sum to its end.
    const bare = udp(A, B, 5, 6, [0, 0])
    const payload = bare.slice(6, 8)
    expect(checksum([...pseudo(17, A, B, 10), ...bare.slice(0, 6), 0, 0, ...payload])).toBe(0)
    const frame = ethernet(PEER_MAC, DRIVER_MAC, 0x800, ipv4(17, A, B, udp(A, B, 5, 6, payload, true)))
    const done = completeChecksum(frame, { csumStart: 34, csumOffset: 6 })
    expect([done?.[40], done?.[41]]).toEqual([0xff, 0xff])
  })
})

describe('segmentation', () => {
  it.each([4, 6] as const)('cuts TCP over IPv%i: lengths, sequence numbers, flags, checksums', (version) => {
    const payload = payloadOf(2500)
    const options = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]
    const segment = tcp(version, 0xfffffff0, 0x80 | 0x18 | 1, payload, options)
    const [type, packet] = version === 4 ? [0x800, ipv4(6, A, B, segment)] : [0x86dd, ipv6(6, segment)]
    const frame = ethernet(PEER_MAC, DRIVER_MAC, type, packet)
    const l4 = version === 4 ? 34 : 54
    const pieces =
      toWire(frame, { flags: 1, gsoType: version === 4 ? 1 : 4, gsoSize: 1000, csumStart: l4, csumOffset: 16 }) ?? []
    expect(pieces.map((piece) => piece.length - l4 - 32)).toEqual([1000, 1000, 500])
    const joined: number[] = []
    pieces.forEach((piece, n) => {
      const bytes = [...piece]
      expect(bytes.slice(0, 14)).toEqual([...frame].slice(0, 14))
      const view = new DataView(piece.buffer)
      expect(view.getUint32(l4 + 4)).toBe((0xfffffff0 + n * 1000) % 2 ** 32)
      // CWR with the first, PSH and FIN with the last, ACK with all.
      expect(piece[l4 + 13]).toBe([0x80 | 0x10, 0x10, 0x10 | 0x09][n])
      const length = piece.length - l4
      const head = version === 4 ? pseudo(6, A, B, length) : [...v6(1), ...v6(2), 0, 0, ...be16(length), 0, 0, 0, 6]
      expect(checksum([...head, ...bytes.slice(l4)])).toBe(0)
      if (version === 4) {
        expect(view.getUint16(16)).toBe(piece.length - 14)
        expect(view.getUint16(18)).toBe(0x1234 + n)
        expect(checksum(bytes.slice(14, 34))).toBe(0)
      } else expect(view.getUint16(18)).toBe(length)
      joined.push(...bytes.slice(l4 + 32))
    })
    expect(joined).toEqual(payload)
  })

  it('cuts UDP datagrams (USO) and fragments them (UFO)', () => {
    const payload = payloadOf(2000)
    const frame = ethernet(PEER_MAC, DRIVER_MAC, 0x800, ipv4(17, A, B, udp(A, B, 5, 6, payload, true)))
    const offload = { flags: 1, gsoSize: 800, csumStart: 34, csumOffset: 6 }
    const datagrams = toWire(frame, { ...offload, gsoType: 5 }) ?? []
    expect(datagrams.map((piece) => piece.length - 42)).toEqual([800, 800, 400])
    for (const piece of datagrams) {
      const bytes = [...piece.slice(34)]
      expect((bytes[4] ?? 0) * 256 + (bytes[5] ?? 0)).toBe(bytes.length)
      expect(checksum([...pseudo(17, A, B, bytes.length), ...bytes])).toBe(0)
    }
    const fragments = toWire(frame, { ...offload, gsoType: 3, gsoSize: 1003 }) ?? []
    // 1003 rounds down to 1000, a multiple of 8.
    expect(fragments.map((piece) => piece.length - 34)).toEqual([1000, 1000, 8])
    expect(fragments.map((piece) => new DataView(piece.buffer).getUint16(20))).toEqual([0x2000, 0x2000 | 125, 250])
    for (const piece of fragments) expect(checksum([...piece.slice(14, 34)])).toBe(0)
    expect(fragments.flatMap((piece) => [...piece.slice(34)])).toEqual([...udp(A, B, 5, 6, payload)])
  })

  it.each<[string, Partial<typeof plain>, number[]]>([
    ['a gso_size of 0', { gsoSize: 0 }, ipv4(6, A, B, tcp(4, 1, 16, payloadOf(100)))],
    ['another IP version', { gsoType: 4 }, ipv4(6, A, B, tcp(4, 1, 16, payloadOf(100)))],
    ['another protocol', {}, ipv4(17, A, B, udp(A, B, 1, 2, payloadOf(100)))],
    ['an unknown kind', { gsoType: 0x7f }, ipv4(6, A, B, tcp(4, 1, 16, payloadOf(100)))],
    ['a header beyond the packet', {}, ipv4(6, A, B, [...tcp(4, 1, 16, []).slice(0, 12), 0xf0, 16, 0, 0, 0, 0, 0, 0])],
    ['a fragment', {}, ipv4(6, A, B, tcp(4, 1, 16, payloadOf(100)), 0x2000)],
    ['no IP header', {}, [0x45, 0, 0xff, 0xff]],
  ])('refuses %s', (_name, change, packet) => {
    const frame = ethernet(PEER_MAC, DRIVER_MAC, 0x800, packet)
    expect(
      toWire(frame, { flags: 1, gsoType: 1, gsoSize: 50, csumStart: 34, csumOffset: 16, ...change }),
    ).toBeUndefined()
  })

  it('finds its headers behind a VLAN tag', () => {
    const frame = ethernet(PEER_MAC, DRIVER_MAC, 0x8100, [0, 5, 8, 0, ...ipv4(6, A, B, tcp(4, 1, 16, payloadOf(150)))])
    const pieces = toWire(frame, { flags: 1, gsoType: 1, gsoSize: 100, csumStart: 38, csumOffset: 16 })
    expect(pieces?.map((piece) => piece.length)).toEqual([158, 108])
    expect(pieces?.every((piece) => piece[15] === 5)).toBe(true)
  })
})
