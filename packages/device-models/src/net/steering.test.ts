import { NetFeature } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { NetModel } from './net-model.ts'

const bit = (...bits: number[]): bigint => bits.reduce((set, n) => set | (1n << BigInt(n)), 0n)
const { CTRL_VQ, MQ, RSS, HASH_REPORT, NOTF_COAL, VQ_NOTF_COAL } = NetFeature
const PAIRS = 3
const CONTROL = 2 * PAIRS
const OK = 0
const ERR = 1
const key = Array.from({ length: 40 }, (_, n) => n)

/** A driver by hand on a device with three pairs, of which the queues of `setUp` are there. */
function start(features: bigint, queues = 2 * PAIRS + 1) {
  const model = new NetModel({
    queuePairs: PAIRS,
    features: { MQ: true, RSS: true, HASH_REPORT: true, NOTF_COAL: true, VQ_NOTF_COAL: true },
    hashLimits: [40, 8, 0x3f],
  })
  const fn = modelFunction(model)
  const driver = new HandDriver(fn)
  const rings = driver.start(bit(32, CTRL_VQ) | features, queues, 8)
  const control = rings[CONTROL]
  /** @returns ack and result */
  const command = (kind: number, code: number, data: readonly number[], result = 0): number[] => {
    const length = 2 + data.length
    const region = driver.buffer(length + 1 + result, Uint8Array.from([kind, code, ...data]))
    control?.chain(0, [
      [region.deviceAddress, length, false],
      [region.deviceAddress + length, 1 + result, true],
    ])
    control?.offer(0)
    driver.notify(CONTROL)
    control?.takeUsed()
    return [...region.bytes.subarray(length)]
  }
  const send = (pair: number): void => {
    const region = driver.buffer(12 + 60)
    rings[2 * pair + 1]?.descriptor(0, region.deviceAddress, 72, 0)
    rings[2 * pair + 1]?.offer(0)
    driver.notify(2 * pair + 1)
  }
  return { model, command, send, sections: () => fn.violations.map(({ section }) => section) }
}

const rss = (
  table: readonly number[],
  { types = 0x3f, mask = table.length - 1, unclassified = 0, pairs = PAIRS } = {},
) => [
  ...[types & 0xff, types >> 8, 0, 0, mask, 0, unclassified, 0],
  ...table.flatMap((pair) => [pair, 0]),
  ...[pairs, 0, key.length, ...key],
]

describe('queue pairs of the network device', () => {
  it('§ 5.1.4 are in the configuration, with the limits of hashes', () => {
    const { model } = start(bit(MQ))
    expect([...model.config.subarray(8, 10)]).toEqual([PAIRS, 0])
    expect([...model.config.subarray(17)]).toEqual([40, 8, 0, 0x3f, 0, 0, 0])
    expect(new NetModel({ queuePairs: 3 }).queueSizes).toEqual([256, 256, 64])
  })

  it('§ 5.1.6.5.6 come into use by a command, and go with a reset', () => {
    const { model, command, sections } = start(bit(MQ))
    expect(model.steering.pairs).toBe(1)
    expect(command(4, 0, [3, 0])).toEqual([OK])
    expect(model.steering.pairs).toBe(3)
    model.onReset()
    expect(model.steering.pairs).toBe(1)
    expect(sections()).toEqual([])
  })

  it.each([
    ['no pair', [0, 0]],
    ['more than there are', [PAIRS + 1, 0]],
  ])('§ 5.1.6.5.6.1 %s is against the rules', (_, data) => {
    const { command, sections } = start(bit(MQ))
    expect(command(4, 0, data)).toEqual([ERR])
    expect(sections()).toEqual(['5.1.6.5.6.1'])
  })

  it('§ 5.1.6.5.6.1 a packet on a pair that is not in use is against the rules', () => {
    const { send, command, sections } = start(bit(MQ))
    send(0)
    send(1)
    expect(sections()).toEqual(['5.1.6.5.6.1'])
    command(4, 0, [2, 0])
    send(1)
    expect(sections()).toHaveLength(1)
  })

  it('no commands of the class without their features', () => {
    const { command, sections } = start(bit(MQ))
    expect(command(4, 1, rss([0, 1]))).toEqual([ERR])
    expect(command(4, 2, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, ...key])).toEqual([ERR])
    expect(command(6, 0, [1, 0, 0, 0, 0, 0, 0, 0])).toEqual([ERR])
    expect(command(6, 3, [0, 0, 0, 0], 8)[0]).toBe(ERR)
    expect(command(4, 9, [])).toEqual([ERR])
    expect(sections()).toEqual(['5.1.6.5.7.2', '5.1.6.5.6.4', '5.1.6.5.9.5', '5.1.6.5.9.5'])
  })
})

describe('receive-side scaling of the network device', () => {
  it('§ 5.1.6.5.7.1 takes a table, a key and types', () => {
    const { model, command, sections } = start(bit(RSS))
    expect(command(4, 1, rss([0, 1, 2, 0], { types: 2, unclassified: 1 }))).toEqual([OK])
    expect(model.steering).toMatchObject({ pairs: 3, hashTypes: 2, rss: { table: [0, 1, 2, 0], unclassified: 1 } })
    expect([...model.steering.key]).toEqual(key)
    expect(sections()).toEqual([])
  })

  it.each([
    ['a table of three', rss([0, 1, 2])],
    ['a table that is too long', rss(new Array(16).fill(0))],
    ['a queue that is not there', rss([0, 3])],
    ['a queue that is not there for the rest', rss([0, 1], { unclassified: 3 })],
    ['types that are not supported', rss([0, 1], { types: 0x1ff })],
    ['too many transmit queues', rss([0, 1], { pairs: 4 })],
    ['no transmit queue', rss([0, 1], { pairs: 0 })],
  ])('§ 5.1.6.5.7.2 %s is against the rules', (_, data) => {
    const { command, sections, model } = start(bit(RSS))
    expect(command(4, 1, data)).toEqual([ERR])
    expect(sections()).toEqual(['5.1.6.5.7.2'])
    expect(model.steering.rss).toBeUndefined()
  })

  it('refuses a command that is cut short, or goes on', () => {
    const { command } = start(bit(RSS))
    const whole = rss([0, 1])
    for (const data of [[], whole.slice(0, 7), whole.slice(0, -1), [...whole, 0], rss([0], { mask: 0xff })])
      expect(command(4, 1, data)).toEqual([ERR])
  })
})

describe('hashes of the network device', () => {
  it('§ 5.1.6.5.6.4 are set up, and nothing in the reserved fields', () => {
    const { model, command, sections } = start(bit(MQ, HASH_REPORT))
    const config = [9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, ...key]
    expect(command(4, 2, config)).toEqual([OK])
    expect(model.steering.hashTypes).toBe(9)
    expect(command(4, 2, config.with(5, 1))).toEqual([ERR])
    expect(command(4, 2, config.with(1, 1))).toEqual([ERR])
    expect(command(4, 2, [...config.with(12, 41), 0])).toEqual([ERR])
    expect(sections()).toEqual(['5.1.6.5.6.4', '5.1.6.5.6.4', '5.1.6.5.6.4'])
  })
})

describe('coalescing of the network device', () => {
  it('§ 5.1.6.5.9 remembers the last word for each queue', () => {
    const { model, command, sections } = start(bit(MQ, NOTF_COAL, VQ_NOTF_COAL))
    expect(command(6, 1, [8, 0, 0, 0, 70, 0, 0, 0])).toEqual([OK])
    expect(command(6, 2, [4, 0, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0])).toEqual([OK])
    expect(model.coalescing(2)).toEqual({ maxPackets: 8, maxMicroseconds: 70 })
    expect(command(6, 3, [4, 0, 0, 0], 8)).toEqual([OK, 1, 0, 0, 0, 2, 1, 0, 0])
    expect(command(6, 3, [1, 0, 0, 0], 8)).toEqual([OK, 0, 0, 0, 0, 0, 0, 0, 0])
    expect(sections()).toEqual([])
    expect(command(6, 3, [CONTROL, 0, 0, 0], 8)[0]).toBe(ERR)
    expect(command(6, 2, [0xff, 0xff, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0])).toEqual([ERR])
    expect(sections()).toEqual(['5.1.6.5.9.5', '5.1.6.5.9.5'])
    model.onReset()
    expect(model.coalescing(2)).toEqual({ maxPackets: 0, maxMicroseconds: 0 })
  })
})
