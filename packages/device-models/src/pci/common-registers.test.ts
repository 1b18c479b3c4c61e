import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { NetModel } from '../net/net-model.ts'
import { RngModel } from '../rng-model.ts'
import type { ModelFunctionOptions } from './model-function-options.ts'
import { modelFunction } from './model-pci-function.ts'

const VERSION_1 = 1n << 32n
const RING_RESET = 1n << 40n

function setUp(options: ModelFunctionOptions = {}) {
  const fn = modelFunction(new NetModel(), options)
  const driver = new HandDriver(fn)
  fn.setBusMaster(true)
  return { fn, driver, sections: () => fn.violations.map(({ section }) => section) }
}

describe('the common configuration', () => {
  it('§ 4.1.4.3.1 presents the offered features word by word, and 0 beyond', () => {
    const { driver, sections } = setUp()
    // All of the device's own features; INDIRECT_DESC 28, EVENT_IDX 29, VERSION_1 32, RING_RESET 40, SPEED_DUPLEX 63.
    const own = [0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 63]
    const expected = [...own, 28, 29, 32, 40].reduce((set, bit) => set | (1n << BigInt(bit)), 0n)
    expect(driver.offered()).toBe(expected)
    for (const word of [2, 3, 4, 0xffffffff]) {
      driver.set32(0, word)
      expect(driver.get32(4)).toBe(0)
    }
    expect(sections()).toEqual([])
  })

  it('§ 4.1.4.3.1 presents what the driver accepted', () => {
    const { driver } = setUp()
    driver.status = 1
    driver.status = 3
    driver.accept(VERSION_1 | 0x21n)
    driver.set32(8, 0)
    expect(driver.get32(12)).toBe(0x21)
    driver.set32(8, 1)
    expect(driver.get32(12)).toBe(1)
  })

  it('§ 2.1.2 goes back to 0 on reset, with everything the driver set', () => {
    const { fn, driver, sections } = setUp()
    driver.start(VERSION_1, 3)
    driver.set16(16, 0)
    expect(driver.get16(16)).toBe(0)
    expect(driver.status).toBe(15)
    driver.status = 0
    expect(driver.status).toBe(0)
    expect(driver.get16(16)).toBe(0xffff)
    for (const queue of [0, 1, 2]) {
      driver.set16(22, queue)
      expect([driver.get16(24), driver.get16(26), driver.get16(28), driver.get32(32)]).toEqual([
        queue === 2 ? 64 : 256,
        0xffff,
        0,
        0,
      ])
    }
    driver.set32(8, 1)
    expect(driver.get32(12)).toBe(0)
    expect(fn.stats.resets).toBe(2)
    expect(sections()).toEqual([])
  })

  it('§ 4.1.4.3.1 presents size 0 for a queue that does not exist, and takes nothing for it', () => {
    const { driver, sections } = setUp()
    expect(driver.get16(18)).toBe(3)
    driver.set16(22, 3)
    expect([driver.get16(24), driver.get16(26), driver.get16(28), driver.get32(36)]).toEqual([0, 0xffff, 0, 0])
    driver.set16(24, 4)
    driver.set16(28, 1)
    expect([driver.get16(24), driver.get16(28)]).toEqual([0, 0])
    expect(sections()).toEqual([])
  })

  it('keeps a queue address in two halves', () => {
    const { driver } = setUp()
    driver.set16(22, 1)
    driver.set32(36, 0x1f)
    driver.set32(32, 0xfffff000)
    driver.set32(48, 0x1000)
    expect([driver.get32(32), driver.get32(36), driver.get32(48), driver.get32(52)]).toEqual([
      0xfffff000, 0x1f, 0x1000, 0,
    ])
    driver.set16(22, 0)
    expect(driver.get32(32)).toBe(0)
  })

  it('§ 2.6.1.1.1 resets one queue, which can then be set up again', () => {
    const { fn, driver, sections } = setUp()
    const [, transmit] = driver.start(VERSION_1 | RING_RESET, 3)
    const frame = driver.buffer(72)
    transmit?.descriptor(0, frame.deviceAddress, 72, 0)
    transmit?.offer(0)
    driver.notify(1)
    expect(transmit?.takeUsed()).toEqual([{ id: 0, len: 0 }])
    driver.set16(22, 1)
    driver.set16(58, 1)
    expect([driver.get16(58), driver.get16(28), driver.get16(24), driver.get32(32)]).toEqual([0, 0, 256, 0])
    const again = driver.setUpQueue(1, 16)
    again.descriptor(5, frame.deviceAddress, 72, 0)
    again.offer(5)
    driver.notify(1)
    expect(again.takeUsed()).toEqual([{ id: 5, len: 0 }])
    expect(fn.model.counters.framesFromDriver).toBe(2)
    expect(sections()).toEqual([])
    driver.set16(22, 0)
    expect(driver.get16(28)).toBe(1)
  })

  it('lacks queue_reset where RING_RESET is not offered', () => {
    const fn = modelFunction(new RngModel(), { ringFeatures: { RING_RESET: false } })
    const driver = new HandDriver(fn)
    expect(driver.common.length).toBe(56)
    expect(driver.offered() & RING_RESET).toBe(0n)
  })

  it('§ 4.1.5.2 with NOTIF_CONFIG_DATA is notified by the value it gave out', () => {
    const fn = modelFunction(new RngModel(), { ringFeatures: { NOTIF_CONFIG_DATA: true } })
    const driver = new HandDriver(fn)
    const [queue] = driver.start(VERSION_1 | (1n << 39n), 1)
    driver.set16(22, 0)
    const data = driver.get16(56)
    expect(data).not.toBe(0)
    const room = driver.buffer(16)
    queue?.descriptor(0, room.deviceAddress, 16, 2)
    queue?.offer(0)
    const notify = driver.structures.get(2)
    fn.bar(4).notify(notify?.offset ?? 0, data, 16)
    expect(queue?.takeUsed()).toEqual([{ id: 0, len: 16 }])
    expect(fn.violations).toEqual([])
  })

  describe('config_generation', () => {
    it('§ 4.1.4.3.1 is another one after the driver has read a changed value, and the same without a change', () => {
      const { fn, driver } = setUp()
      driver.start(VERSION_1 | (1n << 16n), 2)
      driver.config16(6)
      const first = driver.get8(21)
      expect(driver.get8(21)).toBe(first)
      fn.model.setLink(false)
      // Between two reads of one consistent value the counter must have moved.
      expect(driver.config16(6)).toBe(0)
      const second = driver.get8(21)
      expect(second).not.toBe(first)
      driver.config16(6)
      expect(driver.get8(21)).toBe(second)
    })

    it('§ 4.1.4.3.1 does not come back to the old value through many changes', () => {
      const { fn, driver } = setUp()
      driver.start(VERSION_1 | (1n << 16n), 2)
      driver.config16(6)
      const first = driver.get8(21)
      for (let n = 0; n < 256; n++) fn.model.setLink(n % 2 === 1)
      driver.config16(6)
      expect(driver.get8(21)).not.toBe(first)
    })
  })
})
