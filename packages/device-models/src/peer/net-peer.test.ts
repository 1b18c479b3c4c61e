import { describe, expect, it } from 'vitest'
import { be16, checksum, DRIVER_MAC, ethernet, ipv4, mac, PEER_MAC, pseudo, udp } from '../../test-support/frames.ts'
import { type NetPacketHeader, PLAIN_HEADER } from '../net/net-header.ts'
import type { Delivery } from '../net/receive-path.ts'
import { type FramePort, NetPeer, type NetPeerOptions } from './net-peer.ts'

const ME = [10, 0, 0, 2]
const PEER = [10, 0, 0, 1]
const payloadOf = (length: number): number[] => Array.from({ length }, (_, n) => (n * 5) & 0xff)

function setUp(options: NetPeerOptions = {}) {
  const answers: { frame: number[]; header: Partial<NetPacketHeader> }[] = []
  let listener: (frame: Uint8Array, header: NetPacketHeader) => void = () => undefined
  const port: FramePort = {
    deliver(frame, header = {}): Delivery {
      answers.push({ frame: [...frame], header })
      return 'delivered'
    },
    onFrame(added) {
      listener = added
      return () => {
        listener = () => undefined
      }
    },
  }
  const peer = new NetPeer(options)
  const detach = peer.attach(port)
  const send = (frame: Uint8Array, header: Partial<NetPacketHeader> = {}) =>
    listener(frame, { ...PLAIN_HEADER, ...header })
  return { peer, answers, send, detach }
}

const toPeer = (packet: readonly number[]): Uint8Array => ethernet(PEER_MAC, DRIVER_MAC, 0x800, packet)
const icmp = (payload: readonly number[], type = 8): number[] => {
  const bare = [type, 0, 0, 0, ...be16(7), ...be16(1), ...payload]
  return [...bare.slice(0, 2), ...be16(checksum(bare)), ...bare.slice(4)]
}
const arp = (target: readonly number[], operation = 1): number[] => [
  0,
  1,
  8,
  0,
  6,
  4,
  ...be16(operation),
  ...mac(DRIVER_MAC),
  ...ME,
  0,
  0,
  0,
  0,
  0,
  0,
  ...target,
]

describe('NetPeer', () => {
  it('answers ARP for its address, and for no other', () => {
    const { peer, answers, send } = setUp()
    send(ethernet('ff:ff:ff:ff:ff:ff', DRIVER_MAC, 0x806, [...arp(PEER), ...Array.from({ length: 18 }, () => 0)]))
    expect(answers.map(({ frame }) => frame)).toEqual([
      [
        ...ethernet(DRIVER_MAC, PEER_MAC, 0x806, [
          0,
          1,
          8,
          0,
          6,
          4,
          0,
          2,
          ...mac(PEER_MAC),
          ...PEER,
          ...mac(DRIVER_MAC),
          ...ME,
        ]),
      ],
    ])
    send(ethernet('ff:ff:ff:ff:ff:ff', DRIVER_MAC, 0x806, arp([10, 0, 0, 3])))
    send(ethernet('ff:ff:ff:ff:ff:ff', DRIVER_MAC, 0x806, arp(PEER, 2)))
    send(ethernet('ff:ff:ff:ff:ff:ff', DRIVER_MAC, 0x806, arp(PEER).slice(0, 20)))
    expect(answers).toHaveLength(1)
    expect(peer.counters).toMatchObject({ frames: 4, arpReplies: 1 })
  })

  it('answers ICMP echo with the same payload', () => {
    const { answers, send } = setUp()
    send(toPeer(ipv4(1, ME, PEER, icmp(payloadOf(57)))))
    const [answer] = answers
    expect(answer?.frame.slice(0, 14)).toEqual([...ethernet(DRIVER_MAC, PEER_MAC, 0x800, [])])
    expect(answer?.frame.slice(26, 34)).toEqual([...PEER, ...ME])
    expect(checksum(answer?.frame.slice(14, 34) ?? [1])).toBe(0)
    expect(answer?.frame.slice(34)).toEqual(icmp(payloadOf(57), 0))
  })

  it('answers UDP, its checksum completed or left to the driver', () => {
    const full = setUp()
    full.send(toPeer(ipv4(17, ME, PEER, udp(ME, PEER, 4000, 7, payloadOf(31)))))
    expect(full.answers[0]?.frame.slice(34)).toEqual(udp(PEER, ME, 7, 4000, payloadOf(31)))
    expect(full.answers[0]?.header).toEqual({})
    const partial = setUp({ partialChecksums: true })
    partial.send(toPeer(ipv4(17, ME, PEER, udp(ME, PEER, 4000, 7, payloadOf(31)))))
    expect(partial.answers[0]?.frame.slice(34)).toEqual(udp(PEER, ME, 7, 4000, payloadOf(31), true))
    expect(partial.answers[0]?.header).toEqual({ flags: 1, csumStart: 34, csumOffset: 6 })
  })

  it('takes a checksum that the driver left to the device', () => {
    const { peer, answers, send } = setUp()
    const frame = toPeer(ipv4(17, ME, PEER, udp(ME, PEER, 4000, 7, payloadOf(10), true)))
    send(frame)
    expect(peer.counters.badChecksums).toBe(1)
    send(frame, { flags: 1, csumStart: 34, csumOffset: 6 })
    expect(answers).toHaveLength(1)
    send(frame, { flags: 1, csumStart: 60000, csumOffset: 6 })
    expect(peer.counters).toMatchObject({ badHeaders: 1, udpEchoes: 1 })
  })

  it.each<[string, (frame: Uint8Array) => void]>([
    ['the IP header', (frame) => (frame[22] = 63)],
    ['the ICMP message', (frame) => (frame[50] = (frame[50] ?? 0) ^ 1)],
  ])('does not answer when the checksum of %s is wrong', (_name, change) => {
    const { peer, answers, send } = setUp()
    const frame = toPeer(ipv4(1, ME, PEER, icmp(payloadOf(57))))
    change(frame)
    send(frame)
    expect(answers).toEqual([])
    expect(peer.counters.badChecksums).toBe(1)
  })

  it('does not answer what is not for it', () => {
    const { answers, send, detach } = setUp({ address: '10.0.0.9', mac: '02:00:00:00:00:09' })
    send(toPeer(ipv4(1, ME, [10, 0, 0, 9], icmp([]))))
    send(ethernet('02:00:00:00:00:09', DRIVER_MAC, 0x800, ipv4(1, ME, PEER, icmp([]))))
    send(ethernet('02:00:00:00:00:09', DRIVER_MAC, 0x800, ipv4(1, ME, [10, 0, 0, 9], icmp([], 0))))
    expect(answers).toEqual([])
    send(ethernet('02:00:00:00:00:09', DRIVER_MAC, 0x800, ipv4(1, ME, [10, 0, 0, 9], icmp([]))))
    expect(answers).toHaveLength(1)
    detach()
    send(ethernet('02:00:00:00:00:09', DRIVER_MAC, 0x800, ipv4(1, ME, [10, 0, 0, 9], icmp([]))))
    expect(answers).toHaveLength(1)
  })

  it('puts fragments together, in any order, and fragments its answer', () => {
    const { peer, answers, send } = setUp({ mtu: 1000 })
    const message = icmp(payloadOf(3000))
    const piece = (from: number, to: number, more: boolean) =>
      toPeer(ipv4(1, ME, PEER, message.slice(from, to), (from / 8) | (more ? 0x2000 : 0)))
    send(piece(1600, 3008, false))
    send(piece(0, 800, true))
    expect(answers).toEqual([])
    send(piece(800, 1600, true))
    expect(peer.counters.icmpEchoes).toBe(1)
    expect(answers.map(({ frame }) => frame.length)).toEqual([1010, 1010, 1010, 34 + 3008 - 3 * 976])
    for (const { frame } of answers) expect(checksum(frame.slice(14, 34))).toBe(0)
    expect(answers.flatMap(({ frame }) => frame.slice(34))).toEqual(icmp(payloadOf(3000), 0))
  })

  it('shows the wire: a large TCP packet comes out in segments', () => {
    const { peer, send } = setUp()
    const wire: Uint8Array[] = []
    peer.onWireFrame((frame) => wire.push(frame))
    const payload = payloadOf(3000)
    const length = 20 + payload.length
    const segment = [
      ...be16(1000),
      ...be16(80),
      0,
      0,
      0,
      9,
      0,
      0,
      0,
      0,
      0x50,
      0x18,
      1,
      0,
      ...be16(0xffff - checksum(pseudo(6, ME, PEER, length))),
      0,
      0,
      ...payload,
    ]
    send(toPeer(ipv4(6, ME, PEER, segment)), {
      flags: 1,
      gsoType: 1,
      gsoSize: 1460,
      hdrLen: 54,
      csumStart: 34,
      csumOffset: 16,
    })
    expect(wire.map((frame) => frame.length - 54)).toEqual([1460, 1460, 80])
    expect(peer.counters).toMatchObject({ frames: 3, badChecksums: 0, badHeaders: 0 })
  })

  it('refuses an address that is none', () => {
    expect(() => new NetPeer({ address: '10.0.0' })).toThrow(TypeError)
    expect(() => new NetPeer({ address: '10.0.0.256' })).toThrow(TypeError)
    expect(() => new NetPeer({ mac: '52:54' })).toThrow(TypeError)
  })
})
