import { close, openFdCount, read, write } from '@virtio-ts/native'
import { describe, expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { QemuBench } from './qemu-bench.ts'
import { RawVirtio, until } from './raw-virtio.fixture.ts'
import { StreamPeer } from './stream-peer.ts'

const frame = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill)
const message = (bytes: Uint8Array): Buffer => {
  const header = Buffer.alloc(4)
  header.writeUInt32BE(bytes.length)
  return Buffer.concat([header, bytes])
}
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('framing', () => {
  it('frames of all lengths, in pieces of all lengths', async () => {
    const peer = new StreamPeer('n0')
    const received: Uint8Array[] = []
    peer.onFrame((bytes) => received.push(bytes))
    const frames = [0, 1, 14, 60, 1514, 65536, 69632].map((length, index) => frame(length, index))
    const stream = Buffer.concat(frames.map(message))
    const steps = [1, 3, 1000, 7, 50_000]
    for (let at = 0, step = 0; at < stream.length; step++) {
      const end = Math.min(stream.length, at + (at < 100 ? 1 : (steps[step % steps.length] ?? 1)))
      const sent = write(peer.childFd, stream, at, end - at)
      if (sent > 0) at += sent
      await nextTurn()
    }
    await until(() => received.length === frames.length)
    expect(received.map((bytes) => [bytes.length, bytes[0], bytes.at(-1)])).toEqual(
      frames.map((bytes) => [bytes.length, bytes[0], bytes.at(-1)]),
    )
    peer.close()
  })

  it('sends a header of 4 bytes, the first the highest, and the frame', async () => {
    const peer = new StreamPeer('n0')
    expect(peer.send(frame(300, 7))).toBe(true)
    expect(() => peer.send(frame(69633, 0))).toThrowError(RangeError)
    await peer.drained()
    const buffer = Buffer.alloc(1000)
    expect(read(peer.childFd, buffer)).toBe(304)
    expect([...buffer.subarray(0, 5)]).toEqual([0, 0, 1, 44, 7])
    peer.close()
    expect(peer.send(frame(60, 0))).toBe(false)
  })

  it('a length that cannot be ends the connection, with a reason', async () => {
    const peer = new StreamPeer('n0')
    let reason: Error | undefined
    let frames = 0
    peer.onClose((why) => (reason = why))
    peer.onFrame(() => frames++)
    write(peer.childFd, Buffer.concat([message(frame(60, 1)), Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3])]))
    await until(() => peer.closed)
    expect(reason).toMatchObject({ code: 'qemu.protocol' })
    expect(frames).toBe(1)
    peer.close()
  })

  it('the end of the other side ends it, without a reason', async () => {
    const before = openFdCount()
    const peer = new StreamPeer('n0')
    let reason: unknown = 'none yet'
    peer.onClose((why) => (reason = why))
    peer.releaseChildFd()
    await until(() => peer.closed)
    expect(reason).toBeUndefined()
    await peer.drained()
    peer.close()
    expect(openFdCount()).toBe(before)
  })

  it('tells of frames that pile up', async () => {
    const peer = new StreamPeer('n0')
    let sent = 0
    while (peer.send(frame(60_000, 1))) sent++
    expect(sent).toBeGreaterThan(0)
    let drained = false
    const done = peer.drained().then(() => (drained = true))
    await nextTurn()
    expect(drained).toBe(false)
    const sink = Buffer.alloc(65536)
    while (!drained) {
      read(peer.childFd, sink)
      await nextTurn()
    }
    await done
    expect(peer.send(frame(60, 1))).toBe(true)
    peer.close()
  })

  it('an id that would break QEMU’s argument is refused', () => {
    for (const id of ['', 'a,b', '1x', 'a b']) expect(() => new StreamPeer(id)).toThrowError(TypeError)
  })
})

requirement('qemu')('with a real QEMU', () => {
  const HEADER = 12

  it('frames pass both ways through a network card', async () => {
    const before = openFdCount()
    const peer = new StreamPeer('cable')
    const bench = await QemuBench.start({ devices: ['virtio-net-pci,netdev=cable,id=nic'], netdevs: [peer] })
    const fn = bench.function('nic')
    const device = new RawVirtio(fn)
    device.begin()
    const [receive, transmit] = [device.queue(0), device.queue(1)]
    device.driverOk()

    const sent = fn.dma.allocate(HEADER + 100)
    sent.bytes.fill(0xa5, HEADER)
    const arrived = new Promise<Uint8Array>((resolve) => peer.onFrame(resolve))
    transmit.add(sent, false)
    transmit.notify()
    expect(await arrived).toEqual(frame(100, 0xa5))

    const buffer = fn.dma.allocate(2048)
    receive.add(buffer, true)
    receive.notify()
    expect(peer.send(frame(200, 0xff))).toBe(true)
    await until(() => receive.used === 1)
    expect(receive.written(0)).toBe(HEADER + 200)
    expect(buffer.bytes.subarray(HEADER, HEADER + 200)).toEqual(frame(200, 0xff))

    const ended = new Promise((resolve) => peer.onClose(resolve))
    await bench.close()
    expect(await ended).toBeUndefined()
    await expect(QemuBench.start({ devices: [], netdevs: [peer] })).rejects.toMatchObject({ code: 'qemu.closed' })
    for (const region of [sent, buffer, receive.ring, transmit.ring]) fn.dma.free(region)
    expect(openFdCount()).toBe(before)
  })

  it('several peers get their own cables; a start that fails ends them', async () => {
    const peers = [new StreamPeer('a'), new StreamPeer('b')]
    const bench = await QemuBench.start({
      devices: ['virtio-net-pci,netdev=b,id=nb'],
      netdevs: ['user,id=u', ...peers, 'hubport,id=h,hubid=0'],
    })
    const device = new RawVirtio(bench.function('nb'))
    device.begin()
    const transmit = device.queue(1)
    device.driverOk()
    const seen: string[] = []
    for (const peer of peers) peer.onFrame(() => seen.push(peer.id))
    transmit.add(bench.dma.allocate(100), false)
    transmit.notify()
    await until(() => seen.length > 0)
    expect(seen).toEqual(['b'])
    await bench.close()

    const unlucky = new StreamPeer('c')
    await expect(QemuBench.start({ devices: ['no-such-device'], netdevs: [unlucky] })).rejects.toThrow('no-such-device')
    await until(() => unlucky.closed)
  })
})

it('the descriptor of a peer that nobody used is closed with it', () => {
  const peer = new StreamPeer('n0')
  const fd = peer.childFd
  peer.close()
  expect(() => close(fd)).toThrow('EBADF')
})
