import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { NetModel } from '../net/net-model.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { RngModel } from '../rng-model.ts'
import { dying } from './dying.ts'
import { honest } from './honest.ts'
import { sloppy } from './sloppy.ts'
import { strict } from './strict.ts'

const bit = (...bits: number[]): bigint => bits.reduce((set, n) => set | (1n << BigInt(n)), 0n)
const frame = Uint8Array.from({ length: 60 }, (_, n) => [0x52, 0x54, 0, 0x12, 0x34, 0x56][n] ?? n)

describe('honest', () => {
  it('§ 4.1.4.3.1 lets FEATURES_OK stand and takes no more than it offered', () => {
    const fn = modelFunction(new NetModel(), { profile: honest() })
    const driver = new HandDriver(fn)
    expect(driver.negotiate(bit(5, 22, 32))).toBe(true)
    expect(fn.core.features).toBe(bit(5, 32))
  })
})

describe('strict', () => {
  it.each<[string, bigint, boolean]>([
    ['what was offered', bit(5, 32), true],
    ['a bit that was not offered', bit(5, 24, 32), false],
    ['a feature without the one it needs', bit(7, 32), false],
    ['no VERSION_1', bit(5), false],
    [
      'all of it',
      bit(0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 23, 28, 29, 32, 40, 63),
      true,
    ],
  ])('§ 2.2.2 judges %s', (_name, features, ok) => {
    const fn = modelFunction(new NetModel(), { profile: strict() })
    expect(new HandDriver(fn).negotiate(features)).toBe(ok)
    expect(fn.violations.length === 0).toBe(ok)
  })

  it('§ 4.1.4.3.2 refuses queue sizes', () => {
    const driver = new HandDriver(modelFunction(new NetModel(), { profile: strict() }))
    for (const [requested, stands] of [
      [512, 256],
      [128, 128],
      [48, 128],
      [0, 128],
    ] as const) {
      driver.set16(24, requested)
      expect(driver.get16(24)).toBe(stands)
    }
  })

  it('§ 4.1.4.5 tells a configuration change by its own bit alone', () => {
    const model = new NetModel()
    const fn = modelFunction(model, { profile: strict() })
    new HandDriver(fn).start(bit(16, 32), 2)
    model.setLink(false)
    expect(fn.bar(4).read8(0x1000)).toBe(2)
  })
})

describe('sloppy', () => {
  function setUp(features: bigint) {
    const model = new NetModel()
    const fn = modelFunction(model, { profile: sloppy() })
    const driver = new HandDriver(fn)
    const [receive, transmit] = driver.start(features, 2)
    if (!receive || !transmit) throw new Error('no queues')
    return { model, fn, driver, receive, transmit }
  }

  it('gives transmit buffers back in another order, with rubbish for a length', () => {
    const { driver, transmit } = setUp(bit(5, 32))
    const region = driver.buffer(72)
    for (const head of [0, 1, 2]) transmit.descriptor(head, region.deviceAddress, 72, 0)
    transmit.offer(0, 1, 2)
    driver.notify(1)
    expect(transmit.takeUsed()).toEqual([2, 1, 0].map((id) => ({ id, len: 0x10000 + id })))
  })

  it('interrupts for nothing', () => {
    const { fn, driver } = setUp(bit(5, 32))
    driver.notify(0)
    expect(fn.intx()?.drain()).toBe(true)
    expect(fn.stats.interrupts).toBe(2)
  })

  it('sets an unknown flag, and a num_buffers of 0 where it says nothing', () => {
    for (const [features, count] of [
      [bit(5, 32), 0],
      [bit(5, 15, 32), 1],
    ] as const) {
      const { model, driver, receive } = setUp(features)
      const region = driver.buffer(100)
      receive.descriptor(0, region.deviceAddress, 100, 2)
      receive.offer(0)
      model.deliver(frame)
      expect(receive.takeUsed()).toEqual([{ id: 0, len: 72 }])
      expect([...region.bytes.subarray(0, 12)]).toEqual([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, count, 0])
      expect(region.bytes.subarray(12, 72)).toEqual(frame)
    }
  })
})

describe('dying', () => {
  it('answers so many accesses and is gone', () => {
    const reasons: string[] = []
    const fn = modelFunction(new RngModel(), { profile: dying({ after: 3 }) })
    fn.onGone((reason) => reasons.push(reason.message))
    expect([fn.configRead16(0), fn.configRead16(2), fn.bar(4).read16(18)]).toEqual([0x1af4, 0x1044, 1])
    expect(fn.gone).toBe(false)
    expect([fn.configRead16(0), fn.bar(4).read8(20), fn.bar(4).read32(4)]).toEqual([0xffff, 0xff, 0xffffffff])
    expect(fn.gone).toBe(true)
    expect(reasons).toHaveLength(1)
  })

  it('dies in the middle of its work: no memory, no interrupt after it', () => {
    const fn = modelFunction(new RngModel(), { profile: dying({ after: 0, from: 'notify' }) })
    const driver = new HandDriver(fn)
    const [queue] = driver.start(bit(32), 1)
    queue?.descriptor(0, driver.buffer(8).deviceAddress, 8, 2)
    queue?.offer(0)
    driver.notify(0)
    expect(queue?.takeUsed()).toHaveLength(1)
    expect(driver.status).toBe(0xff)
    queue?.offer(0)
    fn.bar(4).notify(0x2000, 0, 16)
    expect(queue?.takeUsed()).toEqual([])
  })

  it('may say nothing', () => {
    const fn = modelFunction(new RngModel(), { profile: dying({ after: 0, silent: true }) })
    expect(fn.configRead16(0)).toBe(0xffff)
    expect(fn.gone).toBe(false)
  })
})
