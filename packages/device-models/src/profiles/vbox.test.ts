import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { HandQueue } from '../../test-support/hand-queue.ts'
import { vboxModel } from './vbox.ts'

const bit = (...bits: number[]): bigint => bits.reduce((set, n) => set | (1n << BigInt(n)), 0n)
const mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56]

function setUp(features: number) {
  const fn = vboxModel('4.3')
  const bar = fn.bar(0)
  fn.setBusMaster(true)
  bar.write8(18, 1)
  bar.write8(18, 3)
  bar.write32(4, features)
  const queue = (index: number) => {
    bar.write16(14, index)
    const made = new HandQueue(fn.dma, bar.read16(12), 0, true)
    bar.write32(8, made.addresses.descriptorArea / 4096)
    return made
  }
  return { fn, bar, queue }
}

describe('VirtualBox 4.3', () => {
  it('offers what it did, on the legacy interface alone, without MSI-X', () => {
    const { fn, bar } = setUp(0)
    expect(BigInt(bar.read32(0))).toBe(bit(0, 1, 5, 7, 8, 10, 11, 12, 14, 15, 16, 17, 18, 19, 24, 30))
    expect(fn.msixVectors).toBe(0)
    expect(fn.configRead8(0x34)).toBe(0)
    expect(fn.configRead16(2)).toBe(0x1000)
  })

  it('ignores the selection of a queue that is not there', () => {
    const { bar } = setUp(0)
    const sizes = [0, 1, 2, 3, 9].map((index) => {
      bar.write16(14, index)
      return bar.read16(12)
    })
    expect(sizes).toEqual([256, 256, 16, 16, 16])
  })

  it('takes everything when something was not offered, and the address alone for bit 30', () => {
    expect(setUp(Number(bit(5, 28))).fn.core.features).toBe(bit(0, 1, 5, 7, 8, 10, 11, 12, 14, 15, 16, 17, 18, 19, 24))
    expect(setUp(Number(bit(0, 5, 16, 30))).fn.core.features).toBe(bit(5))
    expect(setUp(Number(bit(5, 16))).fn.core.features).toBe(bit(5, 16))
  })

  it('never consumes a packet whose header is not alone, and takes it once it is', () => {
    const { fn, bar, queue } = setUp(Number(bit(5)))
    const transmit = queue(1)
    bar.write8(18, 7)
    const region = fn.dma.allocate(70)
    const send = (lengths: readonly number[]) => {
      let at = 0
      transmit.chain(
        0,
        lengths.map((length) => [region.deviceAddress + (at += length) - length, length, false] as const),
      )
      transmit.offer(0)
      bar.write16(16, 1)
      return transmit.takeUsed().length
    }
    expect([send([10, 60]), send([10, 30, 30]), send([70]), send([10, 60])]).toEqual([1, 1, 0, 2])
    expect(fn.model.counters.framesFromDriver).toBe(4)
    expect([send([12, 58]), send([10, 60])]).toEqual([0, 2])
  })

  it('wants exactly ten bytes in front of a receive buffer that cannot be merged', () => {
    const { fn, bar, queue } = setUp(Number(bit(5)))
    const receive = queue(0)
    bar.write8(18, 7)
    const region = fn.dma.allocate(1524)
    receive.descriptor(0, region.deviceAddress, 1524, 2)
    receive.offer(0)
    const frame = Uint8Array.from([...mac, ...Array.from({ length: 54 }, () => 1)])
    expect(fn.model.deliver(frame)).toBe('dropped')
    expect(receive.takeUsed()).toEqual([])
    receive.chain(0, [
      [region.deviceAddress, 10, true],
      [region.deviceAddress + 10, 1514, true],
    ])
    expect(fn.model.deliver(frame)).toBe('delivered')
    expect(receive.takeUsed()).toEqual([{ id: 0, len: 70 }])
  })

  it('starts promiscuous after every reset, and tells configuration changes as ISR 3', () => {
    const { fn, bar, queue } = setUp(Number(bit(5, 16)))
    queue(0)
    bar.write8(18, 7)
    expect(fn.model.receiveFilter.promiscuous).toBe(true)
    fn.model.setLink(false)
    expect(bar.read8(19)).toBe(3)
    bar.write32(8, 0)
    expect(bar.read8(18)).toBe(0)
    expect(fn.model.receiveFilter.promiscuous).toBe(true)
  })
})

describe('VirtualBox 7', () => {
  it('shows 24 queues of 1024, the wrong class, structures in BAR 2, a multiplier of 2', () => {
    const fn = vboxModel('7', { mac: '08:00:27:00:00:01' })
    const driver = new HandDriver(fn)
    expect(fn.configRead16(2)).toBe(0x1000)
    expect(fn.configRead32(8) >>> 24).toBe(1)
    expect(driver.common.bar).toBe(2)
    expect(driver.multiplier).toBe(2)
    expect(driver.get16(18)).toBe(24)
    for (const queue of [0, 2, 3, 23]) {
      driver.set16(22, queue)
      expect([driver.get16(24), driver.get16(26), driver.get16(30)]).toEqual([1024, queue + 2, queue])
    }
    driver.set16(22, 24)
    expect(driver.get16(24)).toBe(0)
    expect(fn.model.mac).toBe('08:00:27:00:00:01')
  })

  it('offers no ring features, and judges no features', () => {
    const driver = new HandDriver(vboxModel('7'))
    expect(driver.offered() & bit(24, 27, 28, 29, 34, 35, 40)).toBe(0n)
    expect(driver.offered() & bit(21, 32)).toBe(bit(21, 32))
    expect(driver.negotiate(bit(5, 22, 60))).toBe(true)
  })

  it('keeps the legacy configuration at 20, and the device when page 0 is written', () => {
    const fn = vboxModel('7')
    const bar = fn.bar(0)
    fn.enableMsix(4)
    expect(Array.from({ length: 6 }, (_, n) => bar.read8(20 + n))).toEqual(mac)
    bar.write8(18, 3)
    bar.write16(14, 0)
    bar.write32(8, 77)
    bar.write32(8, 0)
    expect([bar.read8(18), bar.read32(8)]).toEqual([3, 0])
  })

  it('works for a driver that does everything right', () => {
    const fn = vboxModel('7')
    const driver = new HandDriver(fn)
    const [receive] = driver.start(bit(5, 32), 2, 8)
    const region = driver.buffer(1526)
    receive?.descriptor(0, region.deviceAddress, 1526, 2)
    receive?.offer(0)
    expect(fn.model.deliver(Uint8Array.from([...mac, ...Array.from({ length: 54 }, () => 1)]))).toBe('delivered')
    expect(receive?.takeUsed()).toEqual([{ id: 0, len: 72 }])
    expect(fn.violations).toEqual([])
  })
})
