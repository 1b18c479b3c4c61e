import { describe, expect, it } from 'vitest'
import { HandDriver } from '../test-support/hand-driver.ts'
import { modelFunction } from './pci/model-pci-function.ts'
import { RngModel, type RngModelOptions } from './rng-model.ts'

function setUp(options: RngModelOptions = {}) {
  const fn = modelFunction(new RngModel(options))
  const driver = new HandDriver(fn)
  const [queue] = driver.start(1n << 32n, 1)
  if (!queue) throw new Error('no queue')
  return { fn, driver, queue }
}

describe('RngModel', () => {
  it('§ 5.4.6.2 fills what it is given, over several buffers, and says how much', () => {
    let next = 0
    const { fn, driver, queue } = setUp({ source: (into) => into.forEach((_, n) => (into[n] = ++next & 0xff)) })
    const region = driver.buffer(64)
    queue.chain(0, [
      [region.deviceAddress, 10, true],
      [region.deviceAddress + 20, 5, true],
    ])
    queue.chain(2, [[region.deviceAddress + 40, 4, true]])
    queue.offer(0, 2)
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([
      { id: 0, len: 15 },
      { id: 2, len: 4 },
    ])
    const numbers = (from: number, count: number): number[] => Array.from({ length: count }, (_, n) => from + n)
    expect([...region.bytes.subarray(0, 10)]).toEqual(numbers(1, 10))
    expect([...region.bytes.subarray(20, 25)]).toEqual(numbers(11, 5))
    expect([...region.bytes.subarray(40, 45)]).toEqual([...numbers(16, 4), 0])
    expect(fn.model.bytes).toBe(19)
    expect(fn.violations).toEqual([])
  })

  it('§ 5.4.6.2 may fill less than the buffer, and its bytes are not all alike', () => {
    const { driver, queue } = setUp({ bytesPerBuffer: 40 })
    const region = driver.buffer(64)
    queue.descriptor(1, region.deviceAddress, 64, 2)
    queue.offer(1)
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([{ id: 1, len: 40 }])
    expect(new Set(region.bytes.subarray(0, 40)).size).toBeGreaterThan(10)
    expect(region.bytes.subarray(40).every((byte) => byte === 0)).toBe(true)
  })

  it('§ 5.4.6.1 records a device-readable buffer', () => {
    const { fn, driver, queue } = setUp()
    const region = driver.buffer(64)
    queue.descriptor(0, region.deviceAddress, 8, 0)
    queue.offer(0)
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([{ id: 0, len: 0 }])
    expect(fn.violations.map(({ section }) => section)).toEqual(['5.4.6.1'])
  })

  it('§ 2.4.1 forgets a buffer that was in its hands when the driver reset it', () => {
    let act = (): void => undefined
    const { fn, driver, queue } = setUp({ source: () => act() })
    const region = driver.buffer(64)
    queue.descriptor(0, region.deviceAddress, 64, 2)
    queue.offer(0)
    act = () => {
      driver.status = 0
      // The descriptors are the driver's again.
      queue.descriptor(0, 0, 0, 0)
    }
    driver.notify(0)
    expect(queue.takeUsed()).toEqual([])
    expect(fn.violations).toEqual([])
  })
})
