import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { BalloonModel, type BalloonModelOptions } from './balloon-model.ts'

const VERSION_1 = 1n << 32n
const ALL = VERSION_1 | 0x3fn

function setUp(options: BalloonModelOptions = {}, features = ALL, poison = true) {
  const model = new BalloonModel(options)
  const fn = modelFunction(model)
  const driver = new HandDriver(fn)
  const config = (offset: number, value: number): void => {
    const at = driver.structures.get(4)!
    fn.bar(at.bar).write32(at.offset + offset, value)
  }
  driver.negotiate(features)
  if (poison) config(12, 0xa5a5a5a5)
  model.queueSizes.forEach((size, index) => size > 0 && driver.setUpQueue(index, 16))
  driver.status = 15
  let head = 0
  const put = (queue: number, bytes: Uint8Array, writable = false): Uint8Array => {
    const region = driver.buffer(Math.max(1, bytes.length), bytes)
    const at = head++ % 16
    driver.queues[queue]!.descriptor(at, region.deviceAddress, bytes.length, writable ? 2 : 0)
    driver.queues[queue]!.offer(at)
    driver.notify(queue)
    return region.bytes
  }
  const words = (...values: number[]): Uint8Array => new Uint8Array(Uint32Array.from(values).buffer)
  return { model, fn, driver, config, put, words, sections: () => fn.violations.map(({ section }) => section) }
}

const three = (...tags: number[]): number[] => tags.flatMap((tag) => [tag, 0, 1, 0, 0, 0, 0, 0, 0, 0])

describe('BalloonModel', () => {
  it('§ 5.5.6 counts pages in and out', () => {
    const { model, put, words, config, sections } = setUp()
    put(0, words(1, 2, 3))
    put(1, words(2))
    expect([...model.pages]).toEqual([1, 3])
    config(4, 2)
    expect(model.actual).toBe(2)
    expect(sections()).toEqual([])
  })

  it('§ 5.5.6.3 keeps the statistics buffer, and asks with it', () => {
    const { model, put, driver } = setUp()
    put(2, Uint8Array.from(three(4, 5, 6)))
    expect(driver.queues[2]!.takeUsed()).toEqual([])
    expect(model.statistics.get(5)).toBe(1n)
    expect(model.requestStatistics()).toBe(true)
    expect(driver.queues[2]!.takeUsed()).toHaveLength(1)
    expect(model.requestStatistics()).toBe(false)
  })

  it('§ 5.5.2 numbers queues with gaps or without', () => {
    const features = { FREE_PAGE_HINT: false }
    expect(new BalloonModel({ features }).queueSizes).toEqual([64, 64, 64, 64])
    expect(new BalloonModel({ features, queueNumbers: 'fixed' }).queueSizes).toEqual([64, 64, 64, 0, 64])
  })

  it('§ 5.5.4 has a configuration that ends with the last field it has', () => {
    expect(new BalloonModel().config).toHaveLength(16)
    expect(new BalloonModel({ features: { PAGE_POISON: false } }).config).toHaveLength(12)
    expect(new BalloonModel({ features: { PAGE_POISON: false, FREE_PAGE_HINT: false } }).config).toHaveLength(8)
  })

  it('§ 5.5.6.7.2 does to reported memory what a device may: nothing, or anything', () => {
    const kept = setUp()
    expect(kept.put(4, new Uint8Array(4096).fill(0xa5), true).every((byte) => byte === 0xa5)).toBe(true)
    expect(kept.sections()).toEqual([])
    const lost = setUp({}, ALL & ~(1n << 4n), false)
    expect(lost.put(4, new Uint8Array(4096).fill(0xa5), true).every((byte) => byte === 0)).toBe(true)
  })

  it.each<[string, string, (at: ReturnType<typeof setUp>) => void]>([
    ['5.5.6.1', 'a page given twice', ({ put, words }) => put(0, words(1, 1))],
    ['5.5.6.1', 'a page asked for that is not there', ({ put, words }) => put(1, words(1))],
    ['5.5.6.1', 'half a page number', ({ put }) => put(0, new Uint8Array(6))],
    ['5.5.6.1', 'a count that is not true', ({ config }) => config(4, 1)],
    ['2.5.1', 'a target that the driver writes', ({ config }) => config(0, 1)],
    ['5.5.6.6.1', 'another poison_val later', ({ config }) => config(12, 1)],
    ['5.5.6.3.1', 'half an entry', ({ put }) => put(2, new Uint8Array(12))],
    ['5.5.6.3.1', 'no multiple of six', ({ put }) => put(2, Uint8Array.from(three(4)))],
    [
      '5.5.6.3.1',
      'a second buffer',
      ({ put }) => {
        put(2, Uint8Array.from(three(4, 5, 6)))
        put(2, Uint8Array.from(three(4, 5, 6)))
      },
    ],
    [
      '5.5.6.3.1',
      'other statistics than before',
      ({ put, model }) => {
        put(2, Uint8Array.from(three(4, 5, 6)))
        model.requestStatistics()
        put(2, Uint8Array.from(three(4, 5, 7)))
      },
    ],
    ['5.5.6.5.1', 'a hint without a command', ({ put }) => put(3, new Uint8Array(4096), true)],
    ['5.5.6.5.1', 'a command of eight bytes', ({ put, words }) => put(3, words(2, 0))],
    [
      '5.5.6.5.1',
      'a command given twice',
      ({ put, words }) => {
        put(3, words(2))
        put(3, words(2))
      },
    ],
    ['5.5.6.7.1', 'reported memory without the value agreed', ({ put }) => put(4, new Uint8Array(4096), true)],
    ['5.5.6.7.1', 'half a page reported', ({ put }) => put(4, new Uint8Array(100).fill(0xa5), true)],
    ['5.5.6.7.1', 'a report to be read', ({ put }) => put(4, new Uint8Array(4096).fill(0xa5))],
  ])('§ %s notices %s', (section, _what, act) => {
    const at = setUp()
    act(at)
    expect(at.sections()).toContain(section)
  })

  it('§ 5.5.6.6.1 notices a poison_val that was never written', () => {
    expect(setUp({}, ALL, false).sections()).toEqual(['5.5.6.6.1'])
  })
})
