import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  close,
  connectUnix,
  eventfd,
  listenUnix,
  memfdCreate,
  openFdCount,
  read,
  setBlocking,
  socketPair,
  truncate,
  write,
} from '@virtio-ts/native'
import { describe, expect, it } from 'vitest'
import { NetModel } from '../net/net-model.ts'
import { RngModel } from '../rng-model.ts'
import { connections, EVENT_IDX, PROTOCOL, RING_PACKED, VERSION_1 } from './connected.fixture.ts'
import { joined, RawFrontEnd, settle, until, words32, words64 } from './raw-front-end.fixture.ts'
import { VhostUserBackEnd } from './vhost-user-back-end.ts'

const sevens = (): RngModel => new RngModel({ source: (into) => into.fill(7) })
const frame = Uint8Array.from({ length: 60 }, (_, n) => (n < 6 ? 0xff : n))

describe('VhostUserBackEnd', () => {
  const connect = connections()

  it('offers what the model has, ring features, and bit 30', async () => {
    const { mine } = connect(sevens())
    expect((await mine.askNumber(1)).toString(16)).toBe('170000000')
    expect((await mine.askNumber(15)).toString(16)).toBe('1b029')
    expect(await mine.askNumber(17)).toBe(1n)
  })

  it('offers as told: neither CONFIG nor STATUS, or no protocol features at all', async () => {
    const testpmd = connect(new NetModel(), { protocolFeatures: { CONFIG: false, STATUS: false }, queueCount: 4 })
    await testpmd.mine.askNumber(1)
    expect((await testpmd.mine.askNumber(15)) & (PROTOCOL.CONFIG | PROTOCOL.STATUS)).toBe(0n)
    expect(await testpmd.mine.askNumber(17)).toBe(4n)
    const plain = connect(sevens(), { protocolFeatures: false, ringFeatures: { EVENT_IDX: false, RING_PACKED: true } })
    expect((await plain.mine.askNumber(1)).toString(16)).toBe('510000000')
  })

  it.each([
    ['with protocol features', 0n],
    ['without', undefined],
  ])('fills buffers of a split ring, %s', async (_name, protocol) => {
    const { mine, backEnd } = connect(sevens(), protocol === undefined ? { protocolFeatures: false } : {})
    await mine.begin(VERSION_1, protocol)
    const queue = mine.split(0, 8, { enable: protocol !== undefined })
    const buffer = mine.dma.allocate(16)
    queue.descriptor(3, buffer.deviceAddress, 16, 2)
    queue.offer(3)
    mine.notify(0)
    await until(() => mine.signals(mine.usedFds[0]) === 1, 'used')
    expect(queue.takeUsed()).toEqual([{ id: 3, len: 16 }])
    expect([...buffer.bytes]).toEqual(Array(16).fill(7))
    expect(backEnd.violations).toEqual([])
  })

  it('fills buffers of a packed ring, round and round', async () => {
    const { mine, backEnd } = connect(sevens(), { ringFeatures: { RING_PACKED: true } })
    await mine.begin(VERSION_1 | RING_PACKED, 0n)
    const queue = mine.packed(0, 3)
    const buffer = mine.dma.allocate(16)
    for (let n = 0; n < 11; n++) {
      queue.offer(n % 3, [[buffer.deviceAddress, 16, 2]])
      mine.notify(0)
      await until(() => mine.signals(mine.usedFds[0]) === 1, 'used')
      expect(queue.takeUsed(1)).toEqual({ id: n % 3, len: 16, flags: 2 })
    }
    expect(backEnd.violations).toEqual([])
  })

  it('moves frames both ways, and asks for notifications by event index', async () => {
    const { mine, backEnd } = connect(new NetModel({ promiscuous: true }))
    await mine.begin(VERSION_1 | EVENT_IDX, PROTOCOL.REPLY_ACK)
    const receive = mine.split(0, 4)
    const transmit = mine.split(1, 4)
    const sent: number[][] = []
    backEnd.model.onFrame((bytes) => sent.push([...bytes]))
    const out = mine.dma.allocate(12 + frame.length)
    out.bytes.set(frame, 12)
    transmit.descriptor(0, out.deviceAddress, out.length, 0)
    transmit.offer(0)
    mine.notify(1)
    await until(() => sent.length === 1, 'sent')
    expect(sent[0]).toEqual([...frame])
    expect(transmit.availEvent).toBe(1)
    const buffer = mine.dma.allocate(128)
    receive.descriptor(2, buffer.deviceAddress, 128, 2)
    receive.offer(2)
    expect(backEnd.model.deliver(frame)).toBe('dropped')
    mine.notify(0)
    await until(() => backEnd.model.deliver(frame) === 'delivered', 'the receive queue is started')
    expect(receive.takeUsed()).toEqual([{ id: 2, len: 72 }])
    expect([...buffer.bytes.subarray(12, 72)]).toEqual([...frame])
    expect(backEnd.violations).toEqual([])
  })

  it('takes the device status, and is not held up by a front-end that forgets DRIVER_OK', async () => {
    const { mine, backEnd } = connect(sevens())
    await mine.begin(VERSION_1, PROTOCOL.STATUS | PROTOCOL.REPLY_ACK)
    expect(await mine.askNumber(40)).toBe(0n)
    for (const status of [1, 3, 11]) expect(await mine.acknowledged(39, words64(status))).toBe(0n)
    expect(await mine.askNumber(40)).toBe(11n)
    const queue = mine.split(0, 8)
    const buffer = mine.dma.allocate(16)
    queue.descriptor(0, buffer.deviceAddress, 16, 2)
    queue.offer(0)
    mine.notify(0)
    await until(() => mine.signals(mine.usedFds[0]) === 1, 'used')
    expect(queue.takeUsed()).toEqual([{ id: 0, len: 16 }])
    expect(backEnd.violations.map(({ text }) => text)).toEqual(['queue 0 notified before DRIVER_OK'])
    mine.send(39, words64(15))
    expect(await mine.askNumber(40)).toBe(15n)
    mine.send(39, words64(0))
    expect(await mine.askNumber(40)).toBe(0n)
    queue.offer(0)
    mine.notify(0)
    await settle()
    expect(queue.takeUsed()).toEqual([])
  })

  it('acts on messages sent before a notification before it acts on the notification', async () => {
    const { mine, backEnd } = connect(sevens())
    await mine.begin(VERSION_1, PROTOCOL.STATUS)
    for (const status of [1, 3, 11]) mine.send(39, words64(status))
    await mine.askNumber(40)
    const queue = mine.split(0, 8, { enable: false })
    const buffer = mine.dma.allocate(16)
    queue.descriptor(0, buffer.deviceAddress, 16, 2)
    queue.offer(0)
    await mine.barrier()
    // More than are read before the event loop gets its turn, in which it finds the notification.
    for (let n = 0; n < 100; n++) mine.send(18, words32(0, 0))
    mine.send(39, words64(15))
    mine.send(18, words32(0, 1))
    mine.notify(0)
    await until(() => mine.signals(mine.usedFds[0]) === 1, 'used')
    expect(backEnd.violations).toEqual([])
  })

  it('says how far a stopped ring is, touches it no more, and goes on from there', async () => {
    const { mine, backEnd } = connect(sevens())
    await mine.begin(VERSION_1, 0n)
    const queue = mine.split(0, 4)
    const buffer = mine.dma.allocate(4)
    for (let n = 0; n < 4; n++) queue.descriptor(n, buffer.deviceAddress, 4, 2)
    const used = async (): Promise<void> => {
      queue.offer(0)
      mine.notify(0)
      await until(() => mine.signals(mine.usedFds[0]) === 1, 'used')
    }
    for (let n = 0; n < 5; n++) await used()
    const base = (await mine.ask(11, words32(0, 0))).payload
    expect([base.getUint32(0, true), base.getUint32(4, true)]).toEqual([0, 5])
    expect(queue.takeUsed()).toHaveLength(5)
    queue.offer(1)
    mine.notify(0)
    await settle()
    expect(queue.takeUsed()).toEqual([])
    expect((await mine.ask(11, words32(0, 0))).payload.getUint32(4, true)).toBe(5)
    mine.send(10, words32(0, 5))
    mine.setFds(0)
    mine.notify(0)
    await until(() => queue.used.getUint16(2, true) === 6, 'the one that waited')
    expect(queue.takeUsed()).toEqual([{ id: 1, len: 4 }])
    expect(backEnd.violations).toEqual([])
  })

  it('keeps wrap counters in the base of a packed ring, and takes one with the lower half alone', async () => {
    const { mine, backEnd } = connect(sevens(), { ringFeatures: { RING_PACKED: true } })
    await mine.begin(VERSION_1 | RING_PACKED, 0n)
    const queue = mine.packed(0, 4)
    const buffer = mine.dma.allocate(4)
    const used = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n++) {
        queue.offer(0, [[buffer.deviceAddress, 4, 2]])
        mine.notify(0)
        await until(() => queue.takeUsed(1) !== undefined, 'used')
      }
    }
    const base = async (): Promise<string> =>
      (await mine.ask(11, words32(0, 0))).payload.getUint32(4, true).toString(16)
    await used(3)
    expect(await base()).toBe('80038003')
    mine.send(10, words32(0, 0x8003))
    mine.setFds(0)
    await used(2)
    expect(await base()).toBe('10001')
    mine.send(10, words32(0, 0x00010001))
    mine.setFds(0)
    await used(9)
    expect(await base()).toBe('20002')
    expect(backEnd.violations).toEqual([])
  })

  it('discards what it is sent on a ring that is not enabled, and supplies nothing', async () => {
    const { mine, backEnd } = connect(new NetModel({ promiscuous: true }))
    await mine.begin(VERSION_1, 0n)
    const receive = mine.split(0, 4, { enable: false })
    const transmit = mine.split(1, 4, { enable: false })
    let sent = 0
    backEnd.model.onFrame(() => sent++)
    const buffer = mine.dma.allocate(128)
    transmit.descriptor(0, buffer.deviceAddress, 100, 0)
    transmit.offer(0)
    receive.descriptor(0, mine.dma.allocate(128).deviceAddress, 128, 2)
    receive.offer(0)
    mine.notify(0)
    mine.notify(1)
    await until(() => transmit.takeUsed().length === 1, 'discarded')
    expect(backEnd.model.deliver(frame)).toBe('dropped')
    expect([sent, receive.takeUsed()]).toEqual([0, []])
    mine.send(18, words32(0, 1))
    mine.send(18, words32(1, 1))
    await mine.barrier()
    expect(backEnd.model.deliver(frame)).toBe('delivered')
    transmit.offer(0)
    mine.notify(1)
    await until(() => sent === 1, 'sent')
    expect(backEnd.violations).toEqual([])
  })

  it('looks at a ring by itself where the front-end sends no notifications', async () => {
    const { mine } = connect(sevens())
    await mine.begin(VERSION_1, 0n)
    const queue = mine.split(0, 4)
    mine.send(12, words64(0x100))
    mine.send(13, words64(0x100))
    const buffer = mine.dma.allocate(4)
    queue.descriptor(0, buffer.deviceAddress, 4, 2)
    queue.offer(0)
    await until(() => queue.takeUsed().length === 1, 'used')
    queue.offer(0)
    await until(() => queue.takeUsed().length === 1, 'used again')
    await mine.ask(11, words32(0, 0))
    queue.offer(0)
    await settle()
    expect(queue.takeUsed()).toEqual([])
  })

  it('reads buffers across regions that lie side by side, and adds and removes regions', async () => {
    const { mine, backEnd } = connect(sevens())
    await mine.begin(VERSION_1, PROTOCOL.REPLY_ACK | PROTOCOL.CONFIGURE_MEM_SLOTS)
    expect(await mine.askNumber(36)).toBe(32n)
    const extra = memfdCreate('extra')
    truncate(extra, 12288)
    const end = mine.deviceAddress + mine.length
    const region = joined(words64(0, end, 8192, 0x1000, 4096))
    expect(await mine.acknowledged(37, region, [extra])).toBe(0n)
    const queue = mine.split(0, 4)
    queue.descriptor(0, end - 5, 16, 2)
    queue.offer(0)
    mine.notify(0)
    await until(() => mine.signals(mine.usedFds[0]) === 1, 'used')
    expect(queue.takeUsed()).toEqual([{ id: 0, len: 16 }])
    const mapped = new Uint8Array(11)
    expect(read(extra, new Uint8Array(4096))).toBe(4096)
    read(extra, mapped)
    expect([...mapped]).toEqual(Array(11).fill(7))
    expect(await mine.acknowledged(38, region, [extra])).toBe(0n)
    expect(await mine.acknowledged(38, region)).toBe(1n)
    queue.offer(0)
    mine.notify(0)
    await until(() => mine.signals(mine.errorFds[0]) === 1, 'error')
    expect(backEnd.violations.map(({ text }) => text)).toEqual([
      'REM_MEM_REG: no region of 8192 bytes at 0x40100000 to remove',
      'queue 0: buffer at 0x400ffffb+16 lies outside the memory the device can reach',
      'queue 0: a buffer cannot be reached',
    ])
    close(extra)
  })

  it('goes on with its rings in memory that is described anew', async () => {
    const { mine, backEnd } = connect(sevens())
    await mine.begin(VERSION_1, 0n)
    const queue = mine.split(0, 4)
    const buffer = mine.dma.allocate(4)
    queue.descriptor(0, buffer.deviceAddress, 4, 2)
    for (let n = 0; n < 3; n++) {
      queue.offer(0)
      mine.notify(0)
      await until(() => queue.takeUsed().length === 1, 'used')
      mine.send(5, mine.regions(), [mine.file])
    }
    expect(backEnd.violations).toEqual([])
  })

  it('answers for its configuration, and tells of a change on the channel for its requests', async () => {
    const { mine, backEnd } = connect(new NetModel({ mac: '02:00:00:00:00:07' }))
    await mine.begin(VERSION_1, PROTOCOL.BACKEND_REQ | PROTOCOL.CONFIG | PROTOCOL.REPLY_ACK)
    const [channel, theirs] = socketPair()
    expect(await mine.acknowledged(21, undefined, [theirs])).toBe(0n)
    close(theirs)
    const { payload } = await mine.ask(24, joined(words32(0, 24, 0), new Uint8Array(24)))
    const bytes = new Uint8Array(payload.buffer, 0, payload.byteLength)
    expect([...bytes.subarray(0, 20)]).toEqual([...words32(0, 24, 0), 2, 0, 0, 0, 0, 7, 1, 0])
    expect(bytes).toHaveLength(36)
    expect((await mine.ask(24, joined(words32(200, 60, 0), new Uint8Array(60)))).payload.byteLength).toBe(0)
    expect(await mine.acknowledged(25, joined(words32(0, 1, 0), Uint8Array.of(9)))).toBe(1n)
    mine.split(0, 4)
    mine.split(1, 4)
    mine.notify(0)
    await until(() => backEnd.session?.device.core.driverOk === true, 'DRIVER_OK')
    backEnd.model.setLink(false)
    const message = new Uint8Array(24)
    expect(read(channel, message)).toBe(12)
    expect([...message.subarray(0, 12)]).toEqual([...words32(2, 1, 0)])
    const status = await mine.ask(24, joined(words32(6, 2, 0), new Uint8Array(2)))
    expect(status.payload.getUint16(12, true)).toBe(0)
    close(channel)
  })

  it('takes an MTU it can do with, and no other', async () => {
    const { mine, backEnd } = connect(new NetModel())
    await mine.begin(VERSION_1, PROTOCOL.NET_MTU | PROTOCOL.REPLY_ACK)
    expect(await mine.acknowledged(20, words64(9000))).toBe(0n)
    expect(backEnd.model.config[10]! + 256 * backEnd.model.config[11]!).toBe(9000)
    expect(await mine.acknowledged(20, words64(67))).toBe(1n)
    expect(await mine.acknowledged(20, words64(2n ** 63n))).toBe(1n)
  })

  it('hands out an area for buffers in flight, and begins at the used index with one', async () => {
    const { mine, backEnd } = connect(sevens())
    await mine.begin(VERSION_1, PROTOCOL.INFLIGHT_SHMFD | PROTOCOL.REPLY_ACK)
    const asked = joined(words64(0, 0), Uint8Array.of(1, 0, 8, 0, 0, 0, 0, 0))
    const before = openFdCount()
    for (let n = 0; n < 20; n++) for (const fd of (await mine.ask(31, asked)).fds) close(fd)
    expect(openFdCount()).toBe(before)
    const { payload, fds } = await mine.ask(31, asked)
    expect([fds.length, payload.byteLength, payload.getBigUint64(0, true)]).toEqual([1, 24, 192n])
    const area = new Uint8Array(192)
    read(fds[0]!, area)
    expect([...area.subarray(0, 16)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0, 0, 0, 0])
    expect(await mine.acknowledged(32, new Uint8Array(payload.buffer), fds)).toBe(0n)
    close(fds[0]!)
    const queue = mine.split(0, 8, { enable: false })
    const buffer = mine.dma.allocate(4)
    queue.descriptor(0, buffer.deviceAddress, 4, 2)
    // Three were used by the back-end before; two more were taken, and lost with it.
    for (let n = 0; n < 5; n++) queue.offer(0)
    queue.used.setUint16(2, 3, true)
    queue.usedIndex = 3
    mine.send(10, words32(0, 5))
    await mine.acknowledged(18, words32(0, 1))
    mine.notify(0)
    await until(() => queue.used.getUint16(2, true) === 5, 'both')
    expect(backEnd.violations).toEqual([])
  })

  it.each([
    ['with the rings', 0n],
    ['with DRIVER_OK', PROTOCOL.STATUS],
  ])(
    'does what a back-end before it left undone, and says that it is done: without a notification, %s',
    async (_when, status) => {
      const { mine, backEnd } = connect(sevens())
      await mine.begin(VERSION_1, PROTOCOL.INFLIGHT_SHMFD | PROTOCOL.REPLY_ACK | status)
      const asked = joined(words64(0, 0), Uint8Array.of(1, 0, 8, 0, 0, 0, 0, 0))
      const { payload, fds } = await mine.ask(31, asked)
      expect(await mine.acknowledged(32, new Uint8Array(payload.buffer), fds)).toBe(0n)
      close(fds[0]!)
      if (status !== 0n) {
        for (const bits of [1, 3, 11]) await mine.acknowledged(39, words64(bits))
        await mine.ask(40)
      }
      const queue = mine.split(0, 8, { enable: false })
      const buffer = mine.dma.allocate(4)
      queue.descriptor(0, buffer.deviceAddress, 4, 2)
      // Of three one was used, by a back-end that had taken the notification for all, and told nobody.
      for (let n = 0; n < 3; n++) queue.offer(0)
      queue.used.setUint16(2, 1, true)
      await until(() => mine.signals(mine.usedFds[0]) > 0, 'the driver is told to look')
      await mine.acknowledged(18, words32(0, 1))
      if (status !== 0n) {
        expect(queue.used.getUint16(2, true)).toBe(1)
        await mine.acknowledged(39, words64(15))
      }
      await until(() => queue.used.getUint16(2, true) === 3, 'the other two')
      expect(backEnd.violations).toEqual([])
    },
  )

  it('notifies by messages where that was agreed on', async () => {
    const features = PROTOCOL.BACKEND_REQ | PROTOCOL.REPLY_ACK | PROTOCOL.INBAND_NOTIFICATIONS
    const { mine, backEnd } = connect(sevens(), { protocolFeatures: { INBAND_NOTIFICATIONS: true } })
    await mine.begin(VERSION_1, features)
    const [channel, theirs] = socketPair()
    mine.send(21, undefined, [theirs])
    close(theirs)
    const queue = mine.split(0, 4)
    mine.send(13, words64(0x100))
    const buffer = mine.dma.allocate(4)
    queue.descriptor(0, buffer.deviceAddress, 4, 2)
    queue.offer(0)
    expect(await mine.acknowledged(35, words32(0, 0))).toBe(0n)
    const message = new Uint8Array(32)
    expect(read(channel, message)).toBe(20)
    expect([...message.subarray(0, 20)]).toEqual([...words32(4, 1, 8, 0, 0)])
    expect(backEnd.violations).toEqual([])
    close(channel)
  })

  it('resets the device by message, and keeps the memory', async () => {
    const { mine, backEnd } = connect(sevens())
    await mine.begin(VERSION_1, PROTOCOL.REPLY_ACK | PROTOCOL.RESET_DEVICE)
    const buffer = mine.dma.allocate(4)
    for (let round = 0; round < 3; round++) {
      const queue = mine.split(0, 4)
      queue.descriptor(0, buffer.deviceAddress, 4, 2)
      queue.offer(0)
      mine.notify(0)
      await until(() => queue.takeUsed().length === 1, 'used')
      expect(await mine.acknowledged(34)).toBe(0n)
      queue.offer(0)
      mine.notify(0)
      await settle()
      expect(queue.takeUsed()).toEqual([])
      mine.send(2, words64(VERSION_1 | (1n << 30n)))
    }
    expect(backEnd.violations).toEqual([])
  })

  it('gives the event loop its turn however many buffers there are', async () => {
    let turns = 0
    const { mine } = connect(sevens(), { buffersAtOnce: 4 })
    await mine.begin(VERSION_1, 0n)
    const queue = mine.split(0, 256)
    const buffer = mine.dma.allocate(4)
    for (let n = 0; n < 256; n++) queue.descriptor(n, buffer.deviceAddress, 4, 2)
    queue.offer(...Array.from({ length: 256 }, (_, n) => n))
    mine.notify(0)
    const count = (): void => {
      turns++
      if (queue.used.getUint16(2, true) < 256) setImmediate(count)
    }
    setImmediate(count)
    await until(() => queue.used.getUint16(2, true) === 256, 'all used')
    expect(turns).toBeGreaterThanOrEqual(256 / 4)
  })

  it('serves one front-end after another on its socket, and removes it', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-back-end-'))
    const path = join(folder, 'socket')
    const before = openFdCount()
    const events: string[] = []
    const backEnd = VhostUserBackEnd.serve(sevens(), { path, onSession: (event) => events.push(event) })
    expect(() => VhostUserBackEnd.serve(sevens(), { path })).toThrow(expect.objectContaining({ code: 'EADDRINUSE' }))
    // Whoever wanted the socket has tried whether anybody is there.
    await until(() => events.length === 2, 'the attempt is over')
    events.length = 0
    const first = new RawFrontEnd(connectUnix(path))
    const second = new RawFrontEnd(connectUnix(path))
    await first.begin(VERSION_1, 0n)
    second.send(1)
    await settle()
    expect(second.readable).toBe(false)
    first.close()
    expect((await second.reply())?.request).toBe(1)
    expect(backEnd.session?.messages).toBe(1)
    backEnd.disconnect()
    expect(await second.reply()).toBeUndefined()
    second.close()
    const third = new RawFrontEnd(connectUnix(path))
    await third.begin(VERSION_1, 0n)
    backEnd.close()
    backEnd.close()
    third.close()
    expect(events).toEqual(['connected', 'disconnected', 'connected', 'disconnected', 'connected', 'disconnected'])
    expect(() => statSync(path)).toThrow('ENOENT')
    await settle()
    expect(openFdCount()).toBe(before)
    rmSync(folder, { recursive: true })
  })

  it('replaces a socket that was left behind', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'virtio-ts-back-end-'))
    const path = join(folder, 'socket')
    const left = VhostUserBackEnd.serve(sevens(), { path })
    rmSync(path)
    close(listenUnix(path))
    left.close()
    close(listenUnix(path))
    const backEnd = VhostUserBackEnd.serve(sevens(), { path })
    const mine = new RawFrontEnd(connectUnix(path))
    expect(await mine.askNumber(17)).toBe(1n)
    mine.close()
    backEnd.close()
    rmSync(folder, { recursive: true })
  })

  it('does not lose a reply where the socket has no room for it', async () => {
    const { mine } = connect(sevens())
    let sent = 0
    try {
      for (; sent < 100_000; sent++) mine.send(1)
    } catch {
      // No room: the back-end has not read yet.
    }
    expect(sent).toBeGreaterThan(50)
    for (let n = 0; n < sent; n++) expect((await mine.reply())?.request).toBe(1)
    for (let n = 0; n < 3; n++) await mine.barrier()
  })

  it('is not held up by an eventfd that is full, nor by one whose front-end would wait for room', async () => {
    const { mine } = connect(sevens())
    await mine.begin(VERSION_1, 0n)
    const queue = mine.split(0, 4)
    const full = eventfd()
    write(full, Uint8Array.of(0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))
    setBlocking(full, true)
    mine.send(13, words64(0), [full])
    await mine.barrier()
    const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${full}`, 'utf8'))?.[1]
    expect(Number.parseInt(flags ?? '0', 8) & 0o4000).toBe(0o4000)
    const buffer = mine.dma.allocate(4)
    queue.descriptor(0, buffer.deviceAddress, 4, 2)
    queue.offer(0)
    mine.notify(0)
    await until(() => queue.takeUsed().length === 1, 'used')
    await mine.barrier()
    close(full)
  })
})
