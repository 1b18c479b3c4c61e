import { NetHashReport, NetHashType } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { receiveHash } from './receive-hash.ts'

// The key and the addresses of the published verification suite.
const key = Uint8Array.from(
  Buffer.from('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa', 'hex'),
)
const TCP = 6
const UDP = 17

function ipv4(protocol: number, source: readonly number[], destination: readonly number[], from: number, to: number) {
  const ports = [from >> 8, from & 0xff, to >> 8, to & 0xff]
  const header = [0x45, 0, 0, 40, 0, 1, 0, 0, 64, protocol, 0, 0, ...source, ...destination]
  return Uint8Array.from([...new Array(12).fill(2), 8, 0, ...header, ...ports, ...new Array(16).fill(0)])
}

const words = (...groups: readonly number[]): number[] => groups.flatMap((group) => [group >> 8, group & 0xff])
const source6 = words(0x3ffe, 0x2501, 0x200, 0x1fff, 0, 0, 0, 7)
const destination6 = words(0x3ffe, 0x2501, 0x200, 3, 0, 0, 0, 1)
const other6 = words(0xfe80, 0, 0, 0, 0, 0, 0, 9)

/** @param extensions with their types, the first in front */
function ipv6(
  source: readonly number[],
  destination: readonly number[],
  extensions: readonly (readonly [number, number[]])[] = [],
) {
  const types = [...extensions.map(([type]) => type), TCP]
  const rest = extensions.flatMap(([, bytes], n) => [types[n + 1]!, bytes.length / 8 - 1, ...bytes.slice(2)])
  const payload = [...rest, ...words(2794, 1766), ...new Array(16).fill(0)]
  const header = [0x60, 0, 0, 0, payload.length >> 8, payload.length & 0xff, types[0]!, 64]
  return Uint8Array.from([...new Array(12).fill(2), 0x86, 0xdd, ...header, ...source, ...destination, ...payload])
}

describe('§ 5.1.6.4.3 the hash of a packet', () => {
  const frame = ipv4(TCP, [66, 9, 149, 187], [161, 142, 100, 80], 2794, 1766)
  const both = { report: NetHashReport.TCPV4, value: 0x51ccc178 }
  const addresses = { report: NetHashReport.IPV4, value: 0x323e8fc2 }

  it('is over the most that is enabled', () => {
    expect(receiveHash(frame, NetHashType.ALL, key)).toEqual(both)
    expect(receiveHash(frame, NetHashType.IPV4 | NetHashType.UDPV4, key)).toEqual(addresses)
    expect(receiveHash(frame, NetHashType.UDPV4, key)).toEqual({ report: 0, value: 0 })
    const udp = ipv4(UDP, [199, 92, 111, 2], [65, 69, 140, 83], 14230, 4739)
    expect(receiveHash(udp, NetHashType.ALL, key)).toEqual({ report: NetHashReport.UDPV4, value: 0xc626b0ea })
  })

  it('is over addresses only in fragments and other protocols', () => {
    const fragment = frame.slice()
    fragment[20] = 0x20
    expect(receiveHash(fragment, NetHashType.ALL, key)).toEqual(addresses)
    const other = frame.slice()
    other[23] = 50
    expect(receiveHash(other, NetHashType.ALL, key)).toEqual(addresses)
  })

  it('is none for what is not IP', () => {
    expect(receiveHash(new Uint8Array(60), NetHashType.ALL, key)).toEqual({ report: 0, value: 0 })
  })

  it('of IPv6 without extension headers', () => {
    const plain = ipv6(source6, destination6)
    expect(receiveHash(plain, NetHashType.ALL, key)).toEqual({ report: NetHashReport.TCPV6, value: 0x40207d3d })
    expect(receiveHash(plain, NetHashType.IPV6, key)).toEqual({ report: NetHashReport.IPV6, value: 0x2cc18cd5 })
  })

  it('of IPv6 with extension headers takes the addresses from there, where that is enabled', () => {
    const home: readonly [number, number[]] = [60, [0, 0, 1, 2, 0, 0, 0xc9, 16, ...source6]]
    const routing: readonly [number, number[]] = [43, [0, 0, 2, 1, 0, 0, 0, 0, ...destination6]]
    const frame = ipv6(other6, other6, [home, routing])
    expect(receiveHash(frame, NetHashType.ALL, key)).toEqual({ report: NetHashReport.TCPV6_EX, value: 0x40207d3d })
    expect(receiveHash(frame, NetHashType.IP_EX, key)).toEqual({ report: NetHashReport.IPV6_EX, value: 0x2cc18cd5 })
    const skipped = receiveHash(frame, NetHashType.TCPV6, key)
    expect(skipped).toEqual({ ...receiveHash(ipv6(other6, other6), NetHashType.TCPV6, key) })
    // Headers that go beyond the packet.
    const cut = frame.slice()
    cut[55] = 255
    expect(receiveHash(cut, NetHashType.ALL, key)).toEqual({ report: 0, value: 0 })
  })
})
