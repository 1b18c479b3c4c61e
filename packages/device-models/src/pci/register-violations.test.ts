import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { NetModel } from '../net/net-model.ts'
import type { ModelFunctionOptions } from './model-function-options.ts'
import { modelFunction } from './model-pci-function.ts'

const VERSION_1 = 1n << 32n

function setUp(options: ModelFunctionOptions = {}) {
  const fn = modelFunction(new NetModel(), options)
  const driver = new HandDriver(fn)
  fn.setBusMaster(true)
  return {
    fn,
    driver,
    sections: () => fn.violations.map(({ section }) => section),
    texts: () => fn.violations.map(({ text }) => text),
  }
}

describe('what a driver does wrong in the registers', () => {
  it('nothing, when it follows the sequence', () => {
    const { driver, sections } = setUp()
    driver.start(driver.offered(), 3)
    for (let n = 0; n < 6; n++) driver.config8(n)
    expect(driver.config16(6)).toBe(1)
    expect(driver.config16(10)).toBe(1500)
    expect(driver.config32(12)).toBe(10000)
    expect(driver.config8(16)).toBe(1)
    driver.notify(0)
    expect(sections()).toEqual([])
  })

  it('§ 4.1.4.3.2 with RING_PACKED a queue_size need be no power of two, but not 0', () => {
    const { driver, texts } = setUp({ ringFeatures: { RING_PACKED: true } })
    driver.negotiate(VERSION_1 | (1n << 34n))
    driver.set16(24, 48)
    expect([driver.get16(24), texts()]).toEqual([48, []])
    driver.set16(24, 0)
    expect([driver.get16(24), texts()]).toEqual([48, ['queue_size 0 of queue 0 with RING_PACKED']])
  })

  it.each<[string, string, (driver: HandDriver<NetModel>) => void]>([
    ['2.1.1', 'clears status bits', (driver) => ((driver.status = 3), (driver.status = 2))],
    ['2.1.1', 'goes on after FAILED', (driver) => ((driver.status = 0x83), (driver.status = 0x8b))],
    [
      '4.1.4.3.2',
      'does not wait for the reset',
      (driver) => ((driver.status = 3), (driver.status = 0), (driver.status = 1)),
    ],
    ['3.1.1', 'sets DRIVER before ACKNOWLEDGE', (driver) => (driver.status = 2)],
    ['3.1.1', 'sets DRIVER_OK without FEATURES_OK', (driver) => ((driver.status = 3), (driver.status = 7))],
    [
      '3.1.1',
      'does not read FEATURES_OK back',
      (driver) => ((driver.status = 3), driver.accept(VERSION_1), (driver.status = 11), (driver.status = 15)),
    ],
    [
      '3.1.1',
      'accepts features after FEATURES_OK',
      (driver) => (driver.negotiate(VERSION_1), driver.accept(VERSION_1 | 1n)),
    ],
    ['2.2.1', 'accepts what was not offered', (driver) => driver.negotiate(VERSION_1 | (1n << 22n))],
    ['2.2.1', 'accepts GUEST_TSO4 without GUEST_CSUM', (driver) => driver.negotiate(VERSION_1 | (1n << 7n))],
    ['6.1', 'does not accept VERSION_1', (driver) => driver.negotiate(1n)],
    ['3.1.1', 'enables a queue before FEATURES_OK', (driver) => ((driver.status = 3), driver.setUpQueue(0, 4))],
    [
      '3.1.1',
      'notifies before DRIVER_OK',
      (driver) => (driver.negotiate(VERSION_1), driver.setUpQueue(0, 4), driver.notify(0)),
    ],
    ['4.1.5.2.1', 'notifies a queue that is not enabled', (driver) => (driver.start(VERSION_1, 1), driver.notify(1))],
    ['4.1.4.3.2', 'writes 0 to queue_enable', (driver) => driver.set16(28, 0)],
    ['4.1.4.3.2', 'writes a queue_size that is no power of two', (driver) => driver.set16(24, 48)],
    ['4.1.4.3.2', 'writes a queue_size beyond the maximum', (driver) => driver.set16(24, 512)],
    [
      '4.1.4.3.2',
      'moves a queue that is enabled',
      (driver) => (driver.negotiate(VERSION_1), driver.setUpQueue(0, 4), driver.set32(32, 0)),
    ],
    ['4.1.4.3.2', 'writes num_queues', (driver) => driver.set16(18, 1)],
    [
      '4.1.4.3.2',
      'writes queue_reset without RING_RESET',
      (driver) => (driver.negotiate(VERSION_1), driver.set16(58, 1)),
    ],
    ['4.1.3.1', 'reads a 16-bit register with 8 bits', (driver) => driver.get8(18)],
    ['4.1.3.1', 'reads the mac with 32 bits', (driver) => driver.config32(0)],
    ['4.1.3.1', 'reads the status with 8 bits', (driver) => driver.config8(6)],
    ['2.5.1', 'reads max_virtqueue_pairs without MQ', (driver) => driver.config16(8)],
    ['3.1.1', 'writes the configuration before FEATURES_OK', (driver) => write8(driver, 0)],
    ['5.1.4.2', 'writes the configuration at all', (driver) => (driver.negotiate(VERSION_1), write8(driver, 0))],
    ['4.1.5.1.2.2', 'maps a vector beyond the table', (driver) => (driver.set16(16, 4), driver.get16(16))],
    [
      '4.1.5.1.2.2',
      'does not read a vector back',
      (driver) => (driver.negotiate(VERSION_1), driver.set16(16, 1), (driver.status = 15)),
    ],
    [
      '4.1.5.2.1',
      'notifies with 32 bits',
      (driver) => (driver.start(VERSION_1, 1), driver.fn.bar(4).notify(0x3000, 0, 32)),
    ],
    [
      '4.1.5.2.1',
      'notifies at the address of another queue',
      (driver) => (driver.start(VERSION_1, 1), driver.fn.bar(4).notify(0x3000, 1, 16)),
    ],
    [
      '4.1',
      'notifies while bus mastering is off',
      (driver) => (driver.start(VERSION_1, 1), driver.fn.setBusMaster(false), driver.notify(0)),
    ],
  ])('§ %s it %s', (section, _what, act) => {
    const { driver, sections } = setUp()
    act(driver)
    expect(sections()).toContain(section)
  })

  it('records each thing once', () => {
    const { driver, sections } = setUp()
    for (let n = 0; n < 5; n++) driver.set16(28, 0)
    expect(sections()).toEqual(['4.1.4.3.2'])
  })

  it('ignores what it recorded: a read-only register, a refused size, a disabled queue stays enabled', () => {
    const { driver } = setUp()
    driver.set16(18, 9)
    expect(driver.get16(18)).toBe(3)
    driver.set16(24, 48)
    expect(driver.get16(24)).toBe(256)
    driver.negotiate(VERSION_1)
    driver.setUpQueue(0, 4)
    driver.set16(28, 0)
    expect(driver.get16(28)).toBe(1)
  })
})

function write8(driver: HandDriver<NetModel>, offset: number): void {
  const structure = driver.structures.get(4)
  driver.fn.bar(structure?.bar ?? 0).write8((structure?.offset ?? 0) + offset, 0)
}
