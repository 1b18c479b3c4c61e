import { describe, expect, it } from 'vitest'
import { HandQueue } from '../../test-support/hand-queue.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { NetModel } from './net-model.ts'

const ANY_LAYOUT = 1 << 27
const CTRL = (1 << 5) | (1 << 17) | (1 << 18) | (1 << 21)

/** A legacy driver with a control queue. Lengths of the descriptors: readable ones, and the writable ones behind. */
function command(
  features: number,
  bytes: readonly number[],
  readable: readonly number[],
  writable: readonly number[] = [1],
) {
  const fn = modelFunction(new NetModel({ queueSizes: [16, 16, 16] }), { interface: 'legacy' })
  const bar = fn.bar(0)
  fn.setBusMaster(true)
  bar.write8(18, 1)
  bar.write8(18, 3)
  bar.write32(4, features)
  bar.write16(14, 2)
  const control = new HandQueue(fn.dma, 16, 0, true)
  bar.write32(8, control.addresses.descriptorArea / 4096)
  bar.write8(18, 7)
  const region = fn.dma.allocate(64)
  region.bytes.set(bytes)
  let at = region.deviceAddress as number
  const place = (length: number, write: boolean): readonly [number, number, boolean] => {
    at += length
    return [at - length, length, write]
  }
  control.chain(0, [
    ...readable.map((length) => place(length, false)),
    ...writable.map((length) => place(length, true)),
  ])
  control.offer(0)
  bar.write16(16, 2)
  expect(control.takeUsed()).toHaveLength(1)
  return { ack: region.bytes[bytes.length], sections: fn.violations.map(({ section }) => section) }
}

const ANNOUNCE = [3, 0]
const PROMISCUOUS = [0, 0, 1]
const TABLES = [1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 7, 0, 0, 0, 0]

describe('framing on the legacy interface', () => {
  it.each<[string, readonly number[], readonly number[]]>([
    ['a command without data', ANNOUNCE, [2]],
    ['a command with data', PROMISCUOUS, [2, 1]],
    ['two tables', TABLES, [2, 10, 4]],
  ])('§ 5.1.6.6 takes %s in descriptors of their own', (_name, bytes, readable) => {
    expect(command(CTRL, bytes, readable)).toEqual({ ack: 0, sections: [] })
  })

  it.each<[string, readonly number[], readonly number[]]>([
    ['a command without data in two parts', ANNOUNCE, [1, 1]],
    ['a command and its data in one', PROMISCUOUS, [3]],
    ['both tables in one', TABLES, [2, 14]],
    ['a table in two parts', TABLES, [2, 10, 2, 2]],
  ])('§ 5.1.6.6 records %s, unless ANY_LAYOUT was negotiated', (_name, bytes, readable) => {
    expect(command(CTRL, bytes, readable)).toEqual({ ack: 0, sections: ['5.1.6.6'] })
    expect(command(CTRL | ANY_LAYOUT, bytes, readable)).toEqual({ ack: 0, sections: [] })
  })

  it('§ 5.1.6.6 records an ack that is not alone', () => {
    expect(command(CTRL, PROMISCUOUS, [2, 1], [1, 1]).sections).toEqual(['5.1.6.6'])
    expect(command(CTRL, PROMISCUOUS, [2, 1], [4]).sections).toEqual(['5.1.6.6'])
  })
})
