import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import type { NetModelOptions } from './net-options.ts'
import { NetModel } from './net-model.ts'

const bit = (...bits: number[]): bigint => bits.reduce((set, n) => set | (1n << BigInt(n)), 0n)
const VERSION_1 = bit(32)
const MAC = bit(5)
const MRG_RXBUF = bit(15)
const own = [0x52, 0x54, 0, 0x12, 0x34, 0x56]

function setUp(features: bigint, options: NetModelOptions = {}, size = 16) {
  const model = new NetModel(options)
  const fn = modelFunction(model)
  const driver = new HandDriver(fn)
  const [receive, transmit, control] = driver.start(VERSION_1 | features, model.queueSizes.length, size)
  if (!receive || !transmit) throw new Error('no queues')
  /** A receive buffer in one piece. */
  const room = (head: number, length: number) => {
    const region = driver.buffer(length)
    receive.descriptor(head, region.deviceAddress, length, 2)
    receive.offer(head)
    return region.bytes
  }
  const send = (header: number[], frame: number[], length = header.length + frame.length) => {
    const region = driver.buffer(Math.max(1, length), Uint8Array.from([...header, ...frame]).subarray(0, length))
    transmit.descriptor(0, region.deviceAddress, length, 0)
    transmit.offer(0)
    driver.notify(1)
    return transmit.takeUsed()
  }
  return {
    model,
    fn,
    driver,
    receive,
    transmit,
    control,
    room,
    send,
    sections: () => fn.violations.map(({ section }) => section),
  }
}

const frameOf = (length: number, to: readonly number[] = own): Uint8Array =>
  Uint8Array.from({ length }, (_, n) => (n < 6 ? (to[n] ?? 0) : n & 0xff))

describe('NetModel', () => {
  describe('features and configuration', () => {
    it('§ 5.1.4 has a configuration that ends with the last field it has', () => {
      expect(new NetModel().config).toHaveLength(17)
      expect(new NetModel({ features: { SPEED_DUPLEX: false } }).config).toHaveLength(12)
      expect(new NetModel({ features: { SPEED_DUPLEX: false, MTU: false } }).config).toHaveLength(8)
      expect(new NetModel({ features: { SPEED_DUPLEX: false, MTU: false, STATUS: false } }).config).toHaveLength(6)
      expect([...new NetModel({ mtu: 0x1234, speed: 0x01020304, duplex: 0 }).config]).toEqual([
        ...own,
        1,
        0,
        0,
        0,
        0x34,
        0x12,
        4,
        3,
        2,
        1,
        0,
      ])
    })

    it('§ 2.2.2 offers nothing without what it needs', () => {
      const without = new NetModel({ features: { CTRL_VQ: false, GUEST_CSUM: false } })
      expect(without.features & bit(2 + 16, 17, 19, 20, 21, 23)).toBe(0n)
      expect(without.features & bit(1, 7, 8, 9, 10)).toBe(0n)
      expect(without.features & bit(0, 11, 12)).toBe(bit(0, 11, 12))
      expect(without.queueSizes).toEqual([256, 256])
      expect(new NetModel({ rawFeatures: bit(18) }).features).toBe(bit(18))
    })

    it('§ 5.1.4.2 without MAC says nothing of an address', () => {
      const { model, room } = setUp(0n, { features: { MAC: false } })
      expect([...model.config.subarray(0, 6)]).toEqual([0, 0, 0, 0, 0, 0])
      expect(model.receiveFilter.mac).toBeUndefined()
      room(0, 1526)
      // The driver has made up an address that the device does not know: everything comes through.
      expect(model.deliver(frameOf(60, [2, 0, 0, 0, 0, 9]))).toBe('delivered')
    })
  })

  describe('receiving', () => {
    it('§ 5.1.6.4.1 puts header and frame into one buffer, num_buffers 1', () => {
      const { model, receive, room, sections } = setUp(MAC)
      const bytes = room(3, 1526)
      expect(model.deliver(frameOf(60))).toBe('delivered')
      expect(receive.takeUsed()).toEqual([{ id: 3, len: 72 }])
      expect([...bytes.subarray(0, 12)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
      expect(bytes.subarray(12, 72)).toEqual(frameOf(60))
      expect(bytes[72]).toBe(0)
      expect(sections()).toEqual([])
    })

    it('§ 5.1.6.4.1 spreads a frame over buffers, each but the last filled, shown all at once', () => {
      const { model, receive, room } = setUp(MAC | MRG_RXBUF)
      const buffers = [room(0, 100), room(1, 50), room(2, 100), room(3, 100)]
      expect(model.deliver(frameOf(200))).toBe('delivered')
      expect(receive.takeUsed()).toEqual([
        { id: 0, len: 100 },
        { id: 1, len: 50 },
        { id: 2, len: 62 },
      ])
      expect(buffers[0]?.[10]).toBe(3)
      const joined = [...(buffers[0] ?? []).slice(12), ...(buffers[1] ?? []), ...(buffers[2] ?? []).slice(0, 62)]
      expect(Uint8Array.from(joined)).toEqual(frameOf(200))
      expect(buffers[3]?.every((byte) => byte === 0)).toBe(true)
    })

    it('writes a header across descriptors', () => {
      const { model, driver, receive } = setUp(MAC)
      const region = driver.buffer(80)
      receive.chain(0, [
        [region.deviceAddress, 5, true],
        [region.deviceAddress + 5, 9, true],
        [region.deviceAddress + 14, 66, true],
      ])
      receive.offer(0)
      expect(model.deliver(frameOf(60))).toBe('delivered')
      expect(region.bytes[10]).toBe(1)
      expect(region.bytes.subarray(12, 72)).toEqual(frameOf(60))
    })

    it('drops a frame that does not fit, and leaves the buffer for the next', () => {
      const { model, receive, room } = setUp(MAC)
      room(0, 100)
      expect(model.deliver(frameOf(89))).toBe('dropped')
      expect(model.counters.droppedTooLong).toBe(1)
      expect(receive.takeUsed()).toEqual([])
      expect(model.deliver(frameOf(88))).toBe('delivered')
      // Two buffers would hold it, but a driver without MRG_RXBUF gets every packet in one.
      room(1, 100)
      room(2, 100)
      expect(model.deliver(frameOf(120))).toBe('dropped')
    })

    it.each([0n, bit(29)])(
      'keeps frames while there are no buffers, in order, up to the limit (EVENT_IDX %s)',
      (events) => {
        const { model, driver, receive, room } = setUp(MAC | MRG_RXBUF | events, { backlog: 3 })
        const outcomes = [1, 2, 3, 4, 5].map((n) => model.deliver(frameOf(60 + n)))
        expect(outcomes).toEqual(['queued', 'queued', 'queued', 'dropped', 'dropped'])
        expect(model.backlog).toBe(3)
        expect(model.counters.droppedNoBuffer).toBe(2)
        // It waits, and says so.
        expect(events === 0n ? receive.usedFlags : receive.availEvent).toBe(0)
        room(0, 1526)
        room(1, 1526)
        driver.notify(0)
        expect(receive.takeUsed().map(({ len }) => len)).toEqual([73, 74])
        room(2, 1526)
        driver.notify(0)
        expect(receive.takeUsed().map(({ len }) => len)).toEqual([75])
        expect(model.backlog).toBe(0)
      },
    )

    it('keeps a copy of a frame that has to wait', () => {
      const { model, driver, room } = setUp(MAC)
      const frame = frameOf(60)
      expect(model.deliver(frame)).toBe('queued')
      frame.fill(0)
      const bytes = room(0, 1526)
      driver.notify(0)
      expect(bytes.subarray(12, 72)).toEqual(frameOf(60))
    })

    it('§ 2.7.10.2 asks to hear of the next buffer when it needs more than there are', () => {
      const { model, driver, receive, room } = setUp(MAC | MRG_RXBUF | bit(29))
      room(0, 100)
      expect(model.deliver(frameOf(300))).toBe('queued')
      expect(receive.availEvent).toBe(1)
      room(1, 100)
      driver.notify(0)
      expect(receive.availEvent).toBe(2)
      room(2, 100)
      room(3, 100)
      driver.notify(0)
      expect(receive.takeUsed().map(({ len }) => len)).toEqual([100, 100, 100, 12])
    })

    it('drops a frame that all buffers of the ring together cannot hold', () => {
      const { model, room } = setUp(MAC | MRG_RXBUF, {}, 2)
      room(0, 100)
      room(1, 100)
      expect(model.deliver(frameOf(300))).toBe('dropped')
      expect(model.deliver(frameOf(180))).toBe('delivered')
    })

    it('drops what comes before the driver is there, and while the link is down', () => {
      const model = new NetModel()
      expect(model.deliver(frameOf(60))).toBe('dropped')
      const { model: running, room } = setUp(MAC)
      room(0, 1526)
      running.setLink(false)
      expect(running.deliver(frameOf(60))).toBe('dropped')
      running.setLink(true)
      expect(running.deliver(frameOf(60))).toBe('delivered')
      expect(running.counters).toMatchObject({ droppedNotReady: 1, framesToDriver: 1, bytesToDriver: 60 })
    })

    it('§ 5.1.4.1 with MTU passes nothing longer, but for what is still to be cut', () => {
      const { model, room } = setUp(MAC | bit(3, 1, 7), { mtu: 100 })
      room(0, 2000)
      expect(model.deliver(frameOf(119))).toBe('dropped')
      expect(model.deliver(frameOf(119), { gsoType: 1, gsoSize: 50, flags: 1, csumStart: 34, csumOffset: 16 })).toBe(
        'delivered',
      )
    })

    it('§ 5.1.6.3.1 § 5.1.6.4 records receive buffers that are readable or shorter than the header', () => {
      const readable = setUp(MAC)
      const region = readable.driver.buffer(1540)
      readable.receive.chain(0, [
        [region.deviceAddress, 8, false],
        [region.deviceAddress + 8, 1526, true],
      ])
      readable.receive.offer(0)
      readable.model.deliver(frameOf(60))
      expect(readable.sections()).toEqual(['5.1.6.3.1'])
      const short = setUp(MAC | MRG_RXBUF)
      short.room(0, 8)
      short.room(1, 1526)
      short.model.deliver(frameOf(60))
      expect(short.sections()).toEqual(['5.1.6.3.1'])
    })
  })

  describe('transmitting', () => {
    const plain = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]

    it('§ 5.1.6.2 passes on frame and header, and uses the buffer with length 0', () => {
      const { model, send, sections } = setUp(MAC | bit(0))
      const seen: unknown[] = []
      const off = model.onFrame((frame, header) => seen.push([[...frame], header]))
      expect(send([1, 0, 54, 0, 0, 0, 14, 0, 2, 0, 0, 0], [...frameOf(20)])).toEqual([{ id: 0, len: 0 }])
      off()
      expect(send(plain, [...frameOf(20)])).toHaveLength(1)
      expect(seen).toEqual([
        [
          [...frameOf(20)],
          { flags: 1, gsoType: 0, hdrLen: 54, gsoSize: 0, csumStart: 14, csumOffset: 2, numBuffers: 0 },
        ],
      ])
      expect(model.counters).toMatchObject({ framesFromDriver: 2, bytesFromDriver: 40 })
      expect(sections()).toEqual([])
    })

    it('reads header and frame by bytes, however they are cut into descriptors', () => {
      const { model, driver, transmit, sections } = setUp(MAC)
      const frames: Uint8Array[] = []
      model.onFrame((frame) => frames.push(frame))
      const region = driver.buffer(72)
      region.bytes.set(frameOf(60), 12)
      transmit.chain(0, [
        [region.deviceAddress, 3, false],
        [region.deviceAddress + 3, 20, false],
        [region.deviceAddress + 23, 49, false],
      ])
      transmit.offer(0)
      driver.notify(1)
      expect(frames).toEqual([frameOf(60)])
      expect(sections()).toEqual([])
    })

    it('gives a packet back that is shorter than its header', () => {
      const { model, send, sections } = setUp(MAC)
      expect(send(plain, [], 11)).toEqual([{ id: 0, len: 0 }])
      expect(model.counters).toMatchObject({ transmitErrors: 1, framesFromDriver: 0 })
      expect(sections()).toEqual(['5.1.6.2.1'])
    })

    it('gives packets back without passing them on while the link is down', () => {
      const { model, send } = setUp(MAC)
      model.setLink(false)
      expect(send(plain, [...frameOf(60)])).toHaveLength(1)
      expect(model.counters.framesFromDriver).toBe(0)
    })

    it.each<[string, bigint, number[], number]>([
      ['num_buffers', 0n, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], 60],
      ['flags without CSUM', 0n, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 60],
      ['DATA_VALID', bit(0), [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 60],
      ['a checksum outside', bit(0), [1, 0, 0, 0, 0, 0, 50, 0, 9, 0, 0, 0], 60],
      ['gso_type that was not negotiated', bit(0), [1, 1, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0], 60],
      ['gso_type without NEEDS_CSUM', bit(0, 11), [0, 1, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0], 60],
      ['gso_type without gso_size', bit(0, 11), [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 60],
      ['GSO_ECN without HOST_ECN', bit(0, 11), [1, 0x81, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0], 60],
    ])('§ 5.1.6.2.1 records %s', (_name, features, header, length) => {
      const { send, sections } = setUp(MAC | features)
      send(header, [...frameOf(length)])
      expect(sections()).toEqual(['5.1.6.2.1'])
    })

    it('§ 5.1.4.2 records a packet longer than the MTU', () => {
      const { send, sections } = setUp(MAC | bit(3), { mtu: 100 })
      send(plain, [...frameOf(118)])
      expect(sections()).toEqual([])
      send(plain, [...frameOf(119)])
      expect(sections()).toEqual(['5.1.4.2'])
    })
  })

  describe('link and announcement', () => {
    it('§ 5.1.4 tells the link by status and a configuration change', () => {
      const { model, fn, driver } = setUp(MAC | bit(16))
      expect(driver.config16(6)).toBe(1)
      model.setLink(false)
      expect(fn.intx()?.drain()).toBe(true)
      expect(driver.config16(6)).toBe(0)
      fn.bar(4).read8(0x1000)
      model.setLink(false)
      expect(fn.intx()?.drain()).toBe(false)
    })

    it('§ 5.1.6.5.4.2 asks for an announcement until it is acknowledged', () => {
      const { model, fn, driver, control } = setUp(MAC | bit(16, 17, 21))
      expect(model.announce()).toBe(true)
      expect(driver.config16(6)).toBe(3)
      expect(fn.intx()?.drain()).toBe(true)
      const region = driver.buffer(8, Uint8Array.of(3, 0))
      control?.chain(0, [
        [region.deviceAddress, 2, false],
        [region.deviceAddress + 4, 1, true],
      ])
      control?.offer(0)
      driver.notify(2)
      expect(driver.config16(6)).toBe(1)
      expect(model.announcePending).toBe(false)
      expect(setUp(MAC).model.announce()).toBe(false)
    })

    it('changes MTU, speed and address for tests, with notice', () => {
      const { model, fn, driver } = setUp(MAC | bit(3, 16, 63))
      for (const change of [
        () => model.setMtu(0),
        () => model.setSpeed(0xffffffff, 0xff),
        () => model.setMac('02:00:00:00:00:01'),
      ]) {
        change()
        expect(fn.bar(4).read8(0x1000)).toBe(3)
      }
      expect([driver.config16(10), driver.config32(12), driver.config8(16), driver.config8(0)]).toEqual([
        0, 0xffffffff, 0xff, 2,
      ])
      expect(model.mac).toBe('02:00:00:00:00:01')
    })
  })

  it('serves again after a new driver took it on', async () => {
    const { model, fn } = setUp(MAC)
    await fn.close()
    const driver = new HandDriver(modelFunction(model))
    const [receive] = driver.start(VERSION_1 | MAC, 2)
    receive?.descriptor(0, driver.buffer(1526).deviceAddress, 1526, 2)
    receive?.offer(0)
    expect(model.deliver(frameOf(60))).toBe('delivered')
  })
})
