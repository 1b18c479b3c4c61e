import { describe, expect, it } from 'vitest'
import { HandQueue } from '../../test-support/hand-queue.ts'
import { NetModel } from '../net/net-model.ts'
import type { ModelFunctionOptions } from './model-function-options.ts'
import { modelFunction } from './model-pci-function.ts'

function setUp(options: ModelFunctionOptions = {}) {
  const fn = modelFunction(new NetModel({ queueSizes: [16, 16, 16] }), { interface: 'legacy', ...options })
  const bar = fn.bar(0)
  fn.setBusMaster(true)
  const setUpQueue = (index: number) => {
    bar.write16(14, index)
    const queue = new HandQueue(fn.dma, bar.read16(12), 0, true)
    bar.write32(8, queue.addresses.descriptorArea / 4096)
    return queue
  }
  const sections = () => fn.violations.map(({ section }) => section)
  return { fn, bar, setUpQueue, sections }
}

const mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56]

describe('the legacy interface', () => {
  it('§ 4.1.4.10 has its registers in BAR 0: features, queues, status, ISR', () => {
    const { bar, sections } = setUp()
    expect(bar.kind).toBe('io')
    // ANY_LAYOUT 27, INDIRECT_DESC 28, EVENT_IDX 29; nothing above 31 can be said here.
    expect(bar.read32(0) >>> 24).toBe(0b00111000)
    bar.write8(18, 1)
    bar.write8(18, 3)
    expect(bar.read8(18)).toBe(3)
    bar.write32(4, (1 << 5) | (1 << 16))
    expect(bar.read32(4)).toBe((1 << 5) | (1 << 16))
    bar.write16(14, 2)
    expect(bar.read16(14)).toBe(2)
    expect(bar.read16(12)).toBe(16)
    bar.write16(14, 3)
    expect(bar.read16(12)).toBe(0)
    expect(sections()).toEqual([])
  })

  it('§ 4.1.5.1.3.1 sends and receives with the contiguous layout and a header of 10 bytes', () => {
    const { fn, bar, setUpQueue, sections } = setUp()
    bar.write8(18, 1)
    bar.write8(18, 3)
    bar.write32(4, (1 << 5) | (1 << 27))
    const receive = setUpQueue(0)
    const transmit = setUpQueue(1)
    bar.write8(18, 7)
    const frames: Uint8Array[] = []
    fn.model.onFrame((frame) => frames.push(frame))
    const packet = fn.dma.allocate(10 + 60)
    packet.bytes.set([...mac, 0xaa], 10)
    transmit.descriptor(4, packet.deviceAddress, 70, 0)
    transmit.offer(4)
    bar.write16(16, 1)
    expect(transmit.takeUsed()).toEqual([{ id: 4, len: 0 }])
    expect(frames).toHaveLength(1)
    expect([...(frames[0] ?? [])].slice(0, 7)).toEqual([...mac, 0xaa])
    expect(bar.read8(19)).toBe(1)
    const room = fn.dma.allocate(1524)
    receive.descriptor(0, room.deviceAddress, 1524, 2)
    receive.offer(0)
    expect(fn.model.deliver(Uint8Array.from([...mac, ...Array.from({ length: 54 }, () => 0xbb)]))).toBe('delivered')
    expect(receive.takeUsed()).toEqual([{ id: 0, len: 70 }])
    expect([...room.bytes.subarray(0, 17)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...mac, 0xbb])
    expect(sections()).toEqual([])
  })

  it('§ 4.1.4.10 moves the configuration from 20 to 24 while MSI-X is enabled, and back', () => {
    const { fn, bar } = setUp()
    const bytes = (at: number) => Array.from({ length: 6 }, (_, n) => bar.read8(at + n))
    expect(bytes(20)).toEqual(mac)
    fn.enableMsix(4)
    expect(bytes(24)).toEqual(mac)
    expect(bar.read16(20)).toBe(0xffff)
    expect(bar.read16(22)).toBe(0xffff)
    bar.write16(20, 3)
    bar.write16(14, 1)
    bar.write16(22, 2)
    expect([bar.read16(20), bar.read16(22)]).toEqual([3, 2])
    bar.write16(22, 4)
    expect(bar.read16(22)).toBe(0xffff)
    fn.disableMsix()
    expect(bytes(20)).toEqual(mac)
  })

  it('§ 4.1.4.10 answers configuration accesses of any width', () => {
    const { bar, sections } = setUp()
    expect(bar.read32(20)).toBe(0x12005452)
    expect(bar.read16(22)).toBe(0x1200)
    expect(bar.read32(24) >>> 16).toBe(1)
    expect(sections()).toEqual([])
  })

  it('answers all-ones where the configuration ends', () => {
    const { fn, bar } = setUp()
    expect(fn.model.config).toHaveLength(17)
    expect(bar.read16(20 + 16)).toBe(0xffff)
    expect(bar.read8(20 + 16)).toBe(1)
  })

  it('§ 5.1.4.3 takes a mac written by the driver, and filters by it', () => {
    const { fn, bar, setUpQueue } = setUp()
    bar.write8(18, 3)
    bar.write32(4, 1 << 5)
    const receive = setUpQueue(0)
    bar.write8(18, 7)
    for (let n = 0; n < 6; n++) bar.write8(20 + n, 2 + n * 16)
    expect(fn.model.mac).toBe('02:12:22:32:42:52')
    const room = fn.dma.allocate(1524)
    receive.chain(0, [
      [room.deviceAddress, 10, true],
      [room.deviceAddress + 10, 1514, true],
    ])
    receive.offer(0)
    const frame = new Uint8Array(60)
    frame.set(mac)
    expect(fn.model.deliver(frame)).toBe('filtered')
    frame.set([2, 0x12, 0x22, 0x32, 0x42, 0x52])
    expect(fn.model.deliver(frame)).toBe('delivered')
    // The status behind it stays the device's.
    bar.write16(26, 0)
    expect(fn.model.linkUp).toBe(true)
    expect(bar.read16(26)).toBe(1)
  })

  it('§ 3.1.2 serves a driver that uses a queue before DRIVER_OK', () => {
    const { fn, bar, setUpQueue } = setUp()
    bar.write8(18, 3)
    bar.write32(4, 0)
    const transmit = setUpQueue(1)
    const packet = fn.dma.allocate(70)
    transmit.chain(0, [
      [packet.deviceAddress, 10, false],
      [packet.deviceAddress + 10, 60, false],
    ])
    transmit.offer(0)
    bar.write16(16, 1)
    expect(transmit.takeUsed()).toHaveLength(1)
    expect(fn.model.counters.framesFromDriver).toBe(1)
  })

  it('§ 5.1.6.6 § 4.1.4.10 records a header that shares its descriptor without ANY_LAYOUT, and a read-only size', () => {
    const { fn, bar, setUpQueue, sections } = setUp()
    bar.write8(18, 1)
    bar.write8(18, 3)
    bar.write32(4, 0)
    const transmit = setUpQueue(1)
    bar.write8(18, 7)
    const packet = fn.dma.allocate(70)
    transmit.descriptor(0, packet.deviceAddress, 70, 0)
    transmit.offer(0)
    bar.write16(16, 1)
    expect(sections()).toEqual(['5.1.6.6'])
    bar.write16(12, 8)
    expect(bar.read16(12)).toBe(16)
    expect(sections()).toEqual(['5.1.6.6', '4.1.4.10'])
  })

  it('is reset by page 0, as on QEMU', () => {
    const { bar, setUpQueue } = setUp()
    bar.write8(18, 3)
    setUpQueue(0)
    bar.write8(18, 7)
    bar.write32(8, 0)
    expect(bar.read8(18)).toBe(0)
    expect(bar.read32(8)).toBe(0)
  })

  it('§ 2.2.3 a transitional device is legacy or modern as the driver has it', () => {
    const { fn, bar, setUpQueue } = setUp({ interface: 'transitional' })
    bar.write8(18, 3)
    bar.write32(4, 1 << 5)
    setUpQueue(1)
    expect(fn.core.features).toBe(32n)
    // The modern registers see the same device.
    expect(fn.bar(4).read8(20)).toBe(3)
    expect(fn.bar(4).read16(18)).toBe(3)
  })
})
