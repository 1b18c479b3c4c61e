import { receiveHash } from '@virtio-ts/device-models'
import { NetHashReport, NetHashType } from '@virtio-ts/spec'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildFrame, TCP, UDP } from './frames.fixture.ts'
import { packetHash } from './packet-hash.ts'
import { DEFAULT_HASH_KEY } from './steering-options.ts'
import { toeplitz } from './toeplitz.ts'

/** Addresses and ports as they are hashed: source, destination, source port, destination port. */
function ipv4(source: string, from: number, destination: string, to: number): Uint8Array {
  const address = (text: string): number[] => text.split('.').map(Number)
  return Uint8Array.from([...address(source), ...address(destination), from >> 8, from, to >> 8, to])
}

function ipv6(source: readonly number[], from: number, destination: readonly number[], to: number): Uint8Array {
  const words = [...source, ...destination, from, to]
  return Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]))
}

// The published verification suite of receive-side scaling: input, hash over the addresses, hash with the ports.
const published: readonly (readonly [Uint8Array, number, number])[] = [
  [ipv4('66.9.149.187', 2794, '161.142.100.80', 1766), 0x323e8fc2, 0x51ccc178],
  [ipv4('199.92.111.2', 14230, '65.69.140.83', 4739), 0xd718262a, 0xc626b0ea],
  [ipv4('24.19.198.95', 12898, '12.22.207.184', 38024), 0xd2d0a5de, 0x5c2b394a],
  [ipv4('38.27.205.30', 48228, '209.142.163.6', 2217), 0x82989176, 0xafc7327f],
  [ipv4('153.39.163.191', 44251, '202.188.127.2', 1303), 0x5d1809c5, 0x10e828a2],
  [
    ipv6([0x3ffe, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7], 2794, [0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1], 1766),
    0x2cc18cd5,
    0x40207d3d,
  ],
  [
    ipv6([0x3ffe, 0x501, 8, 0, 0x260, 0x97ff, 0xfe40, 0xefab], 14230, [0xff02, 0, 0, 0, 0, 0, 0, 1], 4739),
    0x0f0c461c,
    0xdde51bbf,
  ],
  [
    ipv6(
      [0x3ffe, 0x1900, 0x4545, 3, 0x200, 0xf8ff, 0xfe21, 0x67cf],
      44251,
      [0xfe80, 0, 0, 0, 0x200, 0xf8ff, 0xfe21, 0x67cf],
      38024,
    ),
    0x4b61e985,
    0x02d1feef,
  ],
]

describe('§ 5.1.6.4.3 the Toeplitz hash', () => {
  it.each(published.map((vector, i) => [i, ...vector] as const))(
    'of published vector %d',
    (_, input, addresses, ports) => {
      expect(toeplitz(DEFAULT_HASH_KEY, input, 0, input.length - 4)).toBe(addresses)
      expect(toeplitz(DEFAULT_HASH_KEY, input)).toBe(ports)
    },
  )

  it('of nothing is 0, and a key that is too short goes on with zeros', () => {
    expect(toeplitz(DEFAULT_HASH_KEY, new Uint8Array())).toBe(0)
    expect(toeplitz(Uint8Array.of(0xff, 0, 0, 1), Uint8Array.of(0, 0, 0, 1))).toBe(0x80000000)
  })

  it('is what the device model, written on its own, makes of any packet', () => {
    const frames = fc.record({
      ip: fc.constantFrom<4 | 6>(4, 6),
      protocol: fc.constantFrom(TCP, UDP, 50),
      payload: fc.nat(60),
      vlanTags: fc.constantFrom<0 | 1>(0, 1),
    })
    fc.assert(
      fc.property(
        frames,
        fc.uint8Array({ minLength: 40, maxLength: 52 }),
        fc.nat(NetHashType.ALL),
        (shape, key, types) => {
          const frame = buildFrame(shape)
          const { report, value } = receiveHash(frame, types, key)
          if (report !== NetHashReport.NONE) expect(packetHash(frame, report, key)).toBe(value)
        },
      ),
    )
  })

  it('is undefined for frames the report is not about', () => {
    const tcp = buildFrame({ ip: 4 })
    expect(packetHash(tcp, NetHashReport.TCPV4, DEFAULT_HASH_KEY)).toBeTypeOf('number')
    for (const report of [NetHashReport.NONE, NetHashReport.UDPV4, NetHashReport.TCPV6, NetHashReport.TCPV6_EX, 99])
      expect(packetHash(tcp, report, DEFAULT_HASH_KEY)).toBeUndefined()
    expect(packetHash(buildFrame({ ip: 0 }), NetHashReport.IPV4, DEFAULT_HASH_KEY)).toBeUndefined()
    expect(packetHash(tcp.subarray(0, 36), NetHashReport.TCPV4, DEFAULT_HASH_KEY)).toBeUndefined()
  })
})
