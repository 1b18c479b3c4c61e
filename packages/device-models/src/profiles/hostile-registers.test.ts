import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { NetModel } from '../net/net-model.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { hostile } from './hostile.ts'
import type { HostileRegisterKind } from './hostile-registers.ts'
import type { HostileScript } from './hostile-script.ts'

const FEATURES = (1n << 32n) | (1n << 5n) | (1n << 40n)

function setUp(script: HostileScript<HostileRegisterKind>) {
  const profile = hostile(script)
  const model = new NetModel()
  const fn = modelFunction(model, { profile })
  const driver = new HandDriver(fn)
  fn.setBusMaster(true)
  const size = (queue: number) => {
    driver.set16(22, queue)
    return driver.get16(24)
  }
  const mac = () => Array.from({ length: 6 }, (_, n) => driver.config8(n))
  return { fn, model, driver, profile, size, mac }
}

const cases: Readonly<Record<HostileRegisterKind, () => void>> = {
  'needs-reset': () => {
    const { fn, driver } = setUp({ kind: 'needs-reset', after: 1 })
    driver.start(FEATURES, 2)
    driver.notify(0)
    expect(driver.status).toBe(15)
    driver.notify(0)
    expect(driver.status).toBe(0x4f)
    expect(fn.bar(4).read8(0x1000)).toBe(3)
    const early = setUp({ kind: 'needs-reset', at: 'accept' })
    early.driver.negotiate(FEATURES)
    expect(early.driver.status).toBe(0x4b)
  },
  'reset-never': () => {
    const { model, driver } = setUp({ kind: 'reset-never', after: 1 })
    const [receive] = driver.start(FEATURES, 2)
    driver.status = 0
    expect(driver.status).toBe(15)
    // It really is still at work: the memory is not the driver's yet.
    receive?.descriptor(0, driver.buffer(1526).deviceAddress, 1526, 2)
    receive?.offer(0)
    expect(model.deliver(Uint8Array.from([0x52, 0x54, 0, 0x12, 0x34, 0x56]))).toBe('delivered')
    expect(receive?.takeUsed()).toHaveLength(1)
  },
  'reset-slow': () => {
    const { driver } = setUp({ kind: 'reset-slow', times: 3 })
    driver.status = 0
    expect([driver.status, driver.status, driver.status, driver.status]).toEqual([15, 15, 15, 0])
  },
  'features-refused': () => {
    const { driver } = setUp({ kind: 'features-refused' })
    expect(driver.negotiate(FEATURES)).toBe(false)
    expect(driver.negotiate(1n << 32n)).toBe(false)
  },
  'features-ok-hidden': () => {
    expect(setUp({ kind: 'features-ok-hidden' }).driver.negotiate(FEATURES)).toBe(false)
  },
  'features-flip': () => {
    const { driver } = setUp({ kind: 'features-flip', after: 2, value: 5 })
    const first = driver.offered()
    expect(first & (1n << 5n)).not.toBe(0n)
    expect(driver.offered()).toBe(first & ~(1n << 5n))
  },
  'features-all': () => {
    expect(setUp({ kind: 'features-all' }).driver.offered()).toBe(0xffffffffffffffffn)
  },
  'queue-size-0': () => {
    const { size } = setUp({ kind: 'queue-size-0', queue: 1 })
    expect([size(0), size(1)]).toEqual([256, 0])
  },
  'queue-size-odd': () => {
    expect(setUp({ kind: 'queue-size-odd' }).size(0)).toBe(255)
    expect(setUp({ kind: 'queue-size-odd', value: 48 }).size(0)).toBe(48)
  },
  'queue-size-huge': () => {
    expect(setUp({ kind: 'queue-size-huge' }).size(0)).toBe(65535)
  },
  'queue-size-flip': () => {
    const { size } = setUp({ kind: 'queue-size-flip' })
    expect([size(0), size(0), size(0)]).toEqual([256, 128, 256])
  },
  'queue-count': () => {
    expect(setUp({ kind: 'queue-count' }).driver.get16(18)).toBe(0)
    expect(setUp({ kind: 'queue-count', value: 0xffff }).driver.get16(18)).toBe(0xffff)
  },
  'queue-reset-never': () => {
    const { driver } = setUp({ kind: 'queue-reset-never' })
    driver.start(FEATURES, 2)
    driver.set16(22, 0)
    driver.set16(58, 1)
    expect([driver.get16(58), driver.get16(58), driver.get16(28)]).toEqual([1, 1, 1])
  },
  'notify-off': () => {
    expect(setUp({ kind: 'notify-off' }).driver.get16(30)).toBe(0xffff)
  },
  'vector-refused': () => {
    const { driver } = setUp({ kind: 'vector-refused', queue: 1 })
    for (const [queue, expected] of [
      [0, 1],
      [1, 0xffff],
    ] as const) {
      driver.set16(22, queue)
      driver.set16(26, 1)
      expect(driver.get16(26)).toBe(expected)
    }
    driver.set16(16, 0)
    expect(driver.get16(16)).toBe(0)
  },
  'config-tear': () => {
    const { driver, mac } = setUp({ kind: 'config-tear' })
    const before = driver.get8(21)
    const torn = mac()
    expect(torn).toEqual([0x52, 0x54, 0x00, 0x42, 0x64, 0x06])
    // The generation tells, so that a driver reads again.
    expect(driver.get8(21)).not.toBe(before)
    const again = driver.get8(21)
    expect(mac()).toEqual([0x02, 0x04, 0x50, 0x42, 0x64, 0x06])
    expect(driver.get8(21)).toBe(again)
  },
  'config-unstable': () => {
    const { driver, mac } = setUp({ kind: 'config-unstable' })
    const generation = driver.get8(21)
    expect(mac()).not.toEqual(mac())
    expect(driver.get8(21)).toBe(generation)
  },
  'generation-storm': () => {
    const { driver } = setUp({ kind: 'generation-storm' })
    expect(new Set([driver.get8(21), driver.get8(21), driver.get8(21)]).size).toBe(3)
  },
  'config-garbage': () => {
    expect(setUp({ kind: 'config-garbage' }).mac()).toEqual([255, 255, 255, 255, 255, 255])
    expect(setUp({ kind: 'config-garbage', value: 1 }).driver.config32(12)).toBe(0x01010101)
  },
  gone: () => {
    const { fn, driver } = setUp({ kind: 'gone', after: 30 })
    for (let n = 0; n < 40; n++) driver.get16(18)
    expect(driver.status).toBe(0xff)
    expect(fn.configRead32(0)).toBe(0xffffffff)
    expect(fn.gone).toBe(false)
  },
}

describe('hostile in the registers', () => {
  it.each(Object.entries(cases))('%s', (_kind, check) => {
    check()
  })

  it('counts its deeds', () => {
    const { driver, profile } = setUp({ kind: 'generation-storm', after: 2, times: 3 })
    for (let n = 0; n < 10; n++) driver.get8(21)
    expect(profile.done).toBe(3)
  })
})
