import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import {
  AddressFamily,
  addressOf,
  bindSocket,
  close,
  Errno,
  enterNewNetworkNamespace,
  IoVector,
  openFdCount,
  PollEvent,
  poll,
  read,
  SocketType,
  socket,
  write,
} from '@virtio-ts/native'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { mayMakeTaps } from '../test/may-make-taps.ts'
import { MAX_TAP_READ, Tap, type TapOptions } from './tap.ts'
import type { TapError } from './tap-error.ts'
import { requirement } from '../../../test/requirements.ts'

const HEADER = 12
const ETHERTYPE_IPV4 = 0x0800
const ETHERTYPE_ARP = 0x0806
/** For experiments (IEEE 802): the kernel has no use for it. */
const ETHERTYPE_LOCAL = 0x88b5
const F_NEEDS_CSUM = 1
const GSO_TCPV4 = 1
const MAC = Uint8Array.of(2, 0, 0, 0, 0, 0xaa)
const PEER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 0xbb)

function ip(...command: string[]): void {
  execFileSync('ip', command)
}

/** A header of zeroes, then an Ethernet frame. */
function frame(ethertype: number, payload: Uint8Array, to: Uint8Array = MAC): Uint8Array {
  return Uint8Array.of(...new Uint8Array(HEADER), ...to, ...PEER_MAC, ethertype >> 8, ethertype & 0xff, ...payload)
}

function ethertypeOf(packet: Uint8Array): number {
  return new DataView(packet.buffer, packet.byteOffset).getUint16(HEADER + 12)
}

/** A raw socket on an interface: what a sniffer there sees and sends. */
function packetSocket(index: number, ethertype: number): number {
  const swapped = ((ethertype & 0xff) << 8) | (ethertype >> 8)
  const fd = socket(AddressFamily.PACKET, SocketType.RAW, swapped)
  // struct sockaddr_ll: family, protocol (big-endian), interface index, then what only senders fill in
  const address = new DataView(new ArrayBuffer(20))
  address.setUint16(0, AddressFamily.PACKET, true)
  address.setUint16(2, ethertype)
  address.setInt32(4, index, true)
  bindSocket(fd, new Uint8Array(address.buffer))
  return fd
}

/** Each test file is a process of its own: this one leaves the machine's network for good. */
requirement(() => (mayMakeTaps() ? undefined : 'may not make TAP interfaces'))('Tap', () => {
  const opened: Tap[] = []
  const into = new Uint8Array(MAX_TAP_READ)
  let before: number

  /** Up, with a MAC and without the kernel's own IPv6 chatter. */
  function open(options?: TapOptions): Tap {
    const tap = Tap.open(options)
    opened.push(tap)
    ip('link', 'set', tap.name, 'addrgenmode', 'none')
    tap.setMac(MAC)
    tap.setUp(true)
    return tap
  }

  /** The next frame of an ethertype, waiting for it; others are passed over. */
  async function next(tap: Tap, ethertype: number): Promise<Uint8Array> {
    return vi.waitFor(() => {
      const count = tap.read(into)
      assert.ok(count > 0, `no frame: ${count}`)
      const packet = into.slice(0, count)
      assert.equal(ethertypeOf(packet), ethertype)
      return packet
    })
  }

  beforeAll(() => {
    enterNewNetworkNamespace()
    ip('link', 'set', 'lo', 'up')
  })
  beforeEach(() => {
    before = openFdCount()
  })
  afterEach(() => {
    for (const tap of opened.splice(0)) tap.close()
    assert.equal(openFdCount(), before, 'descriptors left open')
  })

  describe('write', () => {
    it('is received by the kernel: it answers ARP', async () => {
      const tap = open()
      ip('address', 'add', '10.9.8.1/24', 'dev', 'tap0')
      const request = Uint8Array.of(
        // Ethernet, IPv4, lengths, request
        ...[0, 1, 8, 0, 6, 4, 0, 1],
        ...[...PEER_MAC, 10, 9, 8, 2],
        ...[0, 0, 0, 0, 0, 0, 10, 9, 8, 1],
      )
      const packet = frame(ETHERTYPE_ARP, request, new Uint8Array(6).fill(0xff))
      expect(tap.write(packet)).toBe(packet.length)
      const answer = await next(tap, ETHERTYPE_ARP)
      expect([...answer.subarray(HEADER, HEADER + 12)]).toEqual([...PEER_MAC, ...MAC])
      expect([...answer.subarray(HEADER + 14 + 6)]).toEqual([0, 2, ...MAC, 10, 9, 8, 1, ...PEER_MAC, 10, 9, 8, 2])
    })

    it('is seen on the interface as it was written, from one piece or several', () => {
      const tap = open()
      const sniffer = packetSocket(tap.index, ETHERTYPE_LOCAL)
      const payload = Uint8Array.from({ length: 1000 }, (_, i) => i)
      const packet = frame(ETHERTYPE_LOCAL, payload)
      expect(tap.write(packet)).toBe(packet.length)
      expect(read(sniffer, into)).toBe(packet.length - HEADER)
      expect(into.subarray(0, packet.length - HEADER)).toEqual(packet.subarray(HEADER))

      const vector = new IoVector(3)
      vector.append(addressOf(packet), HEADER)
      vector.append(addressOf(packet.subarray(HEADER)), 14)
      vector.append(addressOf(payload.subarray(500)), 500)
      expect(tap.write(vector)).toBe(HEADER + 14 + 500)
      expect(read(sniffer, into)).toBe(14 + 500)
      expect(into.subarray(14, 514)).toEqual(payload.subarray(500))
      close(sniffer)
    })

    it('lets the kernel cut what the header says is to be cut', () => {
      const tap = open()
      ip('address', 'add', '10.9.8.1/24', 'dev', 'tap0')
      const payload = 4000
      const packet = frame(ETHERTYPE_IPV4, tcpSegment(payload))
      const header = new DataView(packet.buffer)
      header.setUint8(0, F_NEEDS_CSUM)
      header.setUint8(1, GSO_TCPV4)
      header.setUint16(2, 54, true)
      header.setUint16(4, 1000, true)
      header.setUint16(6, 34, true)
      header.setUint16(8, 16, true)
      expect(tap.write(packet)).toBe(packet.length)
      // What does not fit together costs that one frame.
      header.setUint16(4, 0, true)
      expect(tap.write(packet)).toBe(-Errno.EINVAL)
      header.setUint16(4, 1000, true)
      header.setUint16(6, 5000, true)
      expect(tap.write(packet)).toBe(-Errno.EINVAL)
    })

    it('says what is wrong, by number', () => {
      const tap = open()
      for (const length of [0, 5, HEADER, HEADER + 13]) expect(tap.write(new Uint8Array(length))).toBe(-Errno.EINVAL)
      const packet = frame(ETHERTYPE_LOCAL, new Uint8Array(50))
      tap.setUp(false)
      expect(tap.write(packet)).toBe(-Errno.EIO)
      tap.setUp(true)
      expect(tap.write(packet)).toBe(packet.length)
    })
  })

  describe('read', () => {
    it('gets what is sent on the interface, a frame a call, with a header in front', () => {
      const tap = open()
      const sender = packetSocket(tap.index, ETHERTYPE_LOCAL)
      const first = frame(ETHERTYPE_LOCAL, new Uint8Array(100).fill(1), PEER_MAC)
      const second = frame(ETHERTYPE_LOCAL, new Uint8Array(60).fill(2), PEER_MAC)
      expect(tap.read(into)).toBe(-Errno.EAGAIN)
      for (const packet of [first, second]) write(sender, packet, HEADER)
      expect(tap.read(into)).toBe(first.length)
      expect(into.subarray(0, first.length)).toEqual(first)
      expect(tap.read(into)).toBe(second.length)
      expect(into.subarray(0, second.length)).toEqual(second)
      expect(tap.read(into)).toBe(-Errno.EAGAIN)
      close(sender)
    })

    it('has no header when there is none', () => {
      const tap = open({ vnetHeader: false })
      const sender = packetSocket(tap.index, ETHERTYPE_LOCAL)
      const packet = frame(ETHERTYPE_LOCAL, new Uint8Array(100), PEER_MAC).subarray(HEADER)
      write(sender, packet)
      expect(tap.read(into)).toBe(packet.length)
      expect(into.subarray(0, packet.length)).toEqual(packet)
      close(sender)
    })

    it('fills pieces of memory', () => {
      const tap = open()
      const sender = packetSocket(tap.index, ETHERTYPE_LOCAL)
      write(sender, frame(ETHERTYPE_LOCAL, new Uint8Array(100).fill(7), PEER_MAC), HEADER)
      const header = new Uint8Array(256)
      const body = new Uint8Array(2048)
      const vector = new IoVector(2)
      vector.append(addressOf(header), HEADER)
      vector.append(addressOf(body), body.length)
      expect(tap.read(vector)).toBe(HEADER + 114)
      expect([...body.subarray(0, 6)]).toEqual([...PEER_MAC])
      expect(body.lastIndexOf(7)).toBe(113)
      expect(header.every((byte) => byte === 0)).toBe(true)
      close(sender)
    })

    it('holds the largest frame there is', async () => {
      const tap = open()
      tap.setMtu(65521)
      tap.setOffloads({ checksum: true })
      const sender = packetSocket(tap.index, ETHERTYPE_LOCAL)
      const packet = frame(ETHERTYPE_LOCAL, new Uint8Array(65521).fill(3), PEER_MAC)
      expect(write(sender, packet, HEADER)).toBe(packet.length - HEADER)
      expect((await next(tap, ETHERTYPE_LOCAL)).length).toBe(packet.length)
      close(sender)
    })
  })

  describe('setOffloads', () => {
    it('decides whether frames come without their checksum', async () => {
      const tap = open()
      ip('address', 'add', '10.9.8.1/24', 'dev', 'tap0')
      ip('neigh', 'replace', '10.9.8.2', 'lladdr', '02:00:00:00:00:bb', 'dev', 'tap0')
      const sender = createSocket('udp4')
      const flagsOfNext = async (): Promise<number> => {
        sender.send('x'.repeat(100), 9999, '10.9.8.2')
        return (await next(tap, ETHERTYPE_IPV4))[0] as number
      }
      expect(await flagsOfNext()).toBe(0)
      tap.setOffloads({ checksum: true })
      expect(await flagsOfNext()).toBe(F_NEEDS_CSUM)
      tap.setOffloads({})
      expect(await flagsOfNext()).toBe(0)
      await new Promise<void>((resolve) => sender.close(resolve))
    })
  })

  describe('onReadable', () => {
    it('calls while there is something to read, until it is stopped', async () => {
      const tap = open()
      const sender = packetSocket(tap.index, ETHERTYPE_LOCAL)
      const packet = frame(ETHERTYPE_LOCAL, new Uint8Array(100), PEER_MAC)
      const results: number[] = []
      const stop = tap.onReadable(() => results.push(tap.read(into)))
      await sleep(5)
      expect(results).toEqual([])
      for (let i = 0; i < 3; i++) write(sender, packet, HEADER)
      await vi.waitFor(() => expect(results).toEqual([packet.length, packet.length, packet.length]))
      stop()
      stop()
      write(sender, packet, HEADER)
      await sleep(5)
      expect(results).toHaveLength(3)
      close(sender)
    })

    it('goes on after a reader was slow and the kernel dropped frames', async () => {
      const tap = open()
      ip('link', 'set', 'tap0', 'txqueuelen', '10')
      const sender = packetSocket(tap.index, ETHERTYPE_LOCAL)
      const packet = frame(ETHERTYPE_LOCAL, new Uint8Array(100), PEER_MAC)
      for (let i = 0; i < 50; i++) write(sender, packet, HEADER)
      let count = 0
      tap.onReadable(() => {
        while (tap.read(into) > 0) count += 1
      })
      await vi.waitFor(() => expect(count).toBeGreaterThanOrEqual(10))
      const early = count
      expect(early).toBeLessThan(50)
      write(sender, packet, HEADER)
      await vi.waitFor(() => expect(count).toBe(early + 1))
      close(sender)
    })
  })

  describe('onGone', () => {
    it('reports once, with a reason, that somebody deleted the interface', async () => {
      const tap = open()
      const reasons: TapError[] = []
      tap.onGone((reason) => reasons.push(reason))
      const off = tap.onGone(() => reasons.push(new Error('was taken off') as TapError))
      off()
      ip('link', 'del', 'tap0')
      await vi.waitFor(() => expect(reasons).toHaveLength(1))
      expect(reasons[0]).toMatchObject({
        code: 'tap.gone',
        message: expect.stringMatching(/^the interface tap0 is gone/),
      })
      expect(tap.gone).toBe(true)
      expect(tap.read(into)).toBe(-Errno.EBADFD)
      expect(tap.write(frame(ETHERTYPE_LOCAL, new Uint8Array(50)))).toBe(-Errno.EBADFD)
      await sleep(5)
      expect(reasons).toHaveLength(1)
      // Whoever asks later hears it at once.
      tap.onGone((reason) => reasons.push(reason))
      expect(reasons[1]).toBe(reasons[0])
      for (const use of [() => tap.name, () => tap.mtu, () => tap.setUp(true), () => tap.setOffloads({})]) {
        expect(use).toThrow(expect.objectContaining({ code: 'tap.gone' }))
      }
    })

    it.each(['read', 'write'] as const)('is found out by %s, too', (method) => {
      const tap = open()
      const reasons: TapError[] = []
      tap.onGone((reason) => reasons.push(reason))
      // No turn of the event loop in between: only the call itself can tell.
      ip('link', 'del', 'tap0')
      expect(tap[method](into)).toBe(-Errno.EBADFD)
      expect(reasons).toHaveLength(1)
    })

    it('wakes a reader once and does not spin', async () => {
      const tap = open()
      const results: number[] = []
      tap.onReadable(() => results.push(tap.read(into)))
      ip('link', 'del', 'tap0')
      await vi.waitFor(() => expect(tap.gone).toBe(true))
      await sleep(20)
      expect(results).toEqual([-Errno.EBADFD])
    })

    it('is not reported after close, nor when another interface goes', async () => {
      const tap = open({ name: 'here' })
      const other = open({ name: 'there' })
      let calls = 0
      tap.onGone(() => (calls += 1))
      other.onGone(() => (calls += 1))
      other.close()
      ip('link', 'add', 'dummy0', 'type', 'bridge')
      ip('link', 'set', 'here', 'master', 'dummy0')
      // A port that leaves a bridge is reported by the kernel as deleted, from the bridge's point of view.
      ip('link', 'set', 'here', 'nomaster')
      ip('link', 'del', 'dummy0')
      await sleep(20)
      expect(calls).toBe(0)
      expect(tap.gone).toBe(false)
    })
  })

  describe('with several queues', () => {
    it('sends from every one, and receives on those that are attached', async () => {
      const tap = open({ name: 'many', queues: 3 })
      expect(new Set(tap.queues.map((queue) => queue.fd)).size).toBe(3)
      const sniffer = packetSocket(tap.index, ETHERTYPE_LOCAL)
      for (const [i, queue] of tap.queues.entries()) {
        const packet = frame(ETHERTYPE_LOCAL, new Uint8Array(60).fill(i))
        expect(queue.write(packet)).toBe(packet.length)
        expect(read(sniffer, into)).toBe(packet.length - HEADER)
        expect(into[14]).toBe(i)
      }
      tap.queues[1]?.setAttached(false)
      tap.queues[2]?.setAttached(false)
      const sender = packetSocket(tap.index, ETHERTYPE_LOCAL)
      for (let i = 0; i < 8; i++) write(sender, frame(ETHERTYPE_LOCAL, new Uint8Array(60).fill(i), PEER_MAC), HEADER)
      for (let i = 0; i < 8; i++) expect(tap.queues[0]?.read(into)).toBe(HEADER + 74)
      expect(tap.queues[1]?.read(into)).toBeLessThan(0)
      tap.queues[1]?.setAttached(true)
      expect(tap.queues[1]?.read(into)).toBe(-Errno.EAGAIN)
      close(sniffer)
      close(sender)
    })

    it('says that a TAP of one queue has nothing to attach', () => {
      const tap = open()
      expect(() => tap.queues[0]?.setAttached(false)).toThrow(expect.objectContaining({ code: 'tap.failed' }))
    })
  })

  describe('from a worker', () => {
    it('can be read by descriptor', async () => {
      const tap = open()
      const sender = packetSocket(tap.index, ETHERTYPE_LOCAL)
      const packet = frame(ETHERTYPE_LOCAL, new Uint8Array(100).fill(9), PEER_MAC)
      const worker = new Worker(
        `const { workerData, parentPort } = require('node:worker_threads')
         const { readSync } = require('node:fs')
         const bytes = new Uint8Array(2000)
         parentPort.on('message', () => parentPort.postMessage(bytes.slice(0, readSync(workerData, bytes))))`,
        { eval: true, workerData: tap.queues[0]?.fd },
      )
      write(sender, packet, HEADER)
      expect(poll(tap.queues[0]?.fd ?? -1, PollEvent.IN, 1000)).toBe(PollEvent.IN)
      worker.postMessage('read')
      const seen = await new Promise((resolve) => worker.once('message', resolve))
      expect(seen).toEqual(packet)
      await worker.terminate()
      close(sender)
    })
  })
})

/** An IPv4 TCP segment of zeroes to a port where nobody listens, with the checksum of the pseudo header alone. */
function tcpSegment(payload: number): Uint8Array {
  const packet = new DataView(new ArrayBuffer(40 + payload))
  packet.setUint8(0, 0x45)
  packet.setUint16(2, packet.byteLength)
  packet.setUint8(8, 64)
  packet.setUint8(9, 6)
  packet.setUint32(12, 0x0a090802)
  packet.setUint32(16, 0x0a090801)
  packet.setUint16(10, checksum(packet, 0, 20))
  packet.setUint16(20, 4000)
  packet.setUint16(22, 4001)
  packet.setUint8(32, 0x50)
  packet.setUint8(33, 0x10)
  return new Uint8Array(packet.buffer)
}

function checksum(bytes: DataView, start: number, end: number): number {
  let sum = 0
  for (let at = start; at < end; at += 2) sum += bytes.getUint16(at)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return ~sum & 0xffff
}
