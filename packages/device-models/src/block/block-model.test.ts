import { describe, expect, it } from 'vitest'
import { HandDriver } from '../../test-support/hand-driver.ts'
import { modelFunction } from '../pci/model-pci-function.ts'
import { hostile } from '../profiles/hostile.ts'
import type { HostileBlockKind } from '../profiles/hostile-block.ts'
import { sloppy } from '../profiles/sloppy.ts'
import type { DeviceProfile } from '../device-profile.ts'
import { BlockModel } from './block-model.ts'
import type { BlockModelOptions } from './block-options.ts'

const bits = (...numbers: number[]): bigint => numbers.reduce((set, n) => set | (1n << BigInt(n)), 0n)
const ALL = bits(1, 2, 6, 9, 10, 11, 13, 14, 32)

/** A driver by hand, with one request at a time. */
function start(options: BlockModelOptions = {}, features = ALL, profile?: DeviceProfile) {
  const model = new BlockModel({ capacity: 100, ...options })
  const fn = modelFunction(model, { ...(profile && { profile }) })
  const driver = new HandDriver(fn)
  const [queue] = driver.start(features, 1)
  const request = driver.buffer(4096)
  const answer = driver.buffer(4096)

  /** @param room bytes for the answer, besides the status */
  function ask(type: number, sector: number, data: readonly number[] | Uint8Array = [], room = 0) {
    const view = new DataView(request.bytes.buffer, request.bytes.byteOffset)
    view.setUint32(0, type, true)
    view.setUint32(4, 0, true)
    view.setBigUint64(8, BigInt(sector), true)
    request.bytes.set(data, 16)
    answer.bytes.fill(0xee)
    const at = answer.deviceAddress
    queue?.chain(0, [
      [request.deviceAddress, 16, false],
      ...(data.length > 0 ? [[request.deviceAddress + 16, data.length, false] as const] : []),
      ...(room > 0 ? [[at, room, true] as const] : []),
      [at + room, 1, true],
    ])
    queue?.offer(0)
    driver.notify(0)
    const [used] = queue?.takeUsed() ?? []
    return { status: answer.bytes[room], answer: answer.bytes.slice(0, room), written: used?.len }
  }
  const complaints = (): string[] => fn.violations.map(({ section }) => section)
  return { model, fn, driver, queue, ask, complaints }
}

/** struct virtio_blk_discard_write_zeroes */
function range(sector: number, count: number, flags = 0): number[] {
  const view = new DataView(new ArrayBuffer(16))
  view.setBigUint64(0, BigInt(sector), true)
  view.setUint32(8, count, true)
  view.setUint32(12, flags, true)
  return [...new Uint8Array(view.buffer)]
}

const sector = (fill: number): Uint8Array => new Uint8Array(512).fill(fill)

describe('the block model', () => {
  it('writes, reads, flushes and says its name', () => {
    const { ask, model, complaints } = start({ id: 'disk' })
    expect(ask(1, 3, sector(7))).toMatchObject({ status: 0, written: 1 })
    expect(ask(0, 3, [], 512)).toEqual({ status: 0, answer: sector(7), written: 513 })
    expect(ask(4, 0).status).toBe(0)
    expect([...ask(8, 0, [], 20).answer].slice(0, 5)).toEqual([0x64, 0x69, 0x73, 0x6b, 0])
    expect([model.requests, model.flushes, complaints()]).toEqual([4, 1, []])
  })

  it('fails what is beyond its end, or not of whole sectors, and complains', () => {
    const { ask, complaints } = start()
    expect(ask(0, 100, [], 512).status).toBe(1)
    expect(ask(1, 99, new Uint8Array(1024)).status).toBe(1)
    expect(ask(0, 0, [], 100).status).toBe(1)
    expect(complaints()).toEqual(['5.2.6.1', '5.2.6.1', '5.2.6.1'])
  })

  it('writes nothing when it is read-only', () => {
    const { ask, model } = start({ readOnly: true }, ALL | bits(5))
    expect(ask(1, 0, sector(1)).status).toBe(1)
    expect(ask(13, 0, range(0, 1)).status).toBe(1)
    expect(model.store.read(0, 512)).toEqual(sector(0))
  })

  it('zeroes and discards ranges, several in a request', () => {
    const { ask, model, complaints } = start({ discard: { maxSegments: 2 } })
    for (let n = 0; n < 6; n++) ask(1, n, sector(n + 1))
    expect(ask(13, 0, range(1, 2, 1)).status).toBe(0)
    expect(ask(11, 0, [...range(4, 1), ...range(5, 1)]).status).toBe(0)
    expect([0, 1, 2, 3, 4, 5].map((n) => model.store.read(n, 1)[0])).toEqual([1, 0, 0, 4, 0, 0])
    expect([model.discarded, complaints()]).toEqual([2, []])
  })

  it.each([
    ['an unmap bit in a discard', 11, range(0, 1, 1), 2],
    ['an unknown flag', 13, range(0, 1, 2), 2],
    ['too many ranges', 11, [...range(0, 1), ...range(1, 1)], 0],
    ['too long a range', 13, range(0, 60), 0],
    ['a range beyond the end', 11, range(99, 2), 1],
    ['half a range', 11, range(0, 1).slice(0, 8), 0],
  ])('complains of %s', (name, type, data, status) => {
    const { ask, complaints } = start({ writeZeroes: { maxSectors: 50 } })
    expect(ask(type, 0, data).status).toBe(status)
    expect(complaints()).toEqual(name === 'an unknown flag' ? [] : ['5.2.6.1'])
  })

  it('complains of what was not negotiated, and does not do it', () => {
    const { ask, complaints } = start({ secureErase: {}, lifetime: { preEndOfLife: 1, typeA: 1, typeB: 1 } }, bits(32))
    const answers = [
      ask(4, 0),
      ask(10, 0, [], 6),
      ask(11, 0, range(0, 1)),
      ask(14, 0, range(0, 1)),
      ask(16, 0, [], 512),
    ]
    expect(answers.map(({ status }) => status)).toEqual([2, 2, 2, 2, 2])
    expect(complaints()).toEqual(new Array(5).fill('5.2.6.1'))
    expect(ask(99, 0).status).toBe(2)
  })

  it('complains of a flush with a sector or data, of a name asked for with too much, of long and many segments', () => {
    const { ask, complaints, driver, queue } = start({ sizeMax: 512, segMax: 1 })
    ask(4, 5)
    ask(4, 0, sector(0))
    ask(8, 0, [], 30)
    expect(complaints()).toEqual(['5.2.6.1', '5.2.6.1', '5.2.6.1'])
    ask(0, 0, [], 1024)
    const region = driver.buffer(2048)
    const at = region.deviceAddress
    queue?.chain(0, [
      [at, 16, false],
      [at + 512, 512, true],
      [at + 1024, 512, true],
      [at + 1536, 1, true],
    ])
    queue?.offer(0)
    driver.notify(0)
    expect(complaints().slice(3)).toEqual(['5.2.3', '5.2.3'])
  })

  it('complains of a request that is none', () => {
    const { driver, queue, complaints } = start()
    const region = driver.buffer(16)
    queue?.descriptor(0, region.deviceAddress, 16, 0)
    queue?.offer(0)
    driver.notify(0)
    expect(queue?.takeUsed()).toEqual([{ id: 0, len: 0 }])
    expect(complaints()).toEqual(['5.2.6.1'])
  })

  it('says how worn it is, and erases', () => {
    const { ask, model } = start(
      { secureErase: {}, lifetime: { preEndOfLife: 2, typeA: 3, typeB: 300 } },
      ALL | bits(15, 16),
    )
    expect([...ask(10, 0, [], 6).answer]).toEqual([2, 0, 3, 0, 44, 1])
    ask(1, 0, sector(9))
    expect(ask(14, 0, range(0, 1)).status).toBe(0)
    expect(model.store.read(0, 512)).toEqual(sector(0))
  })

  it('has a cache that can be switched, and nothing else that can be written', () => {
    const { model, driver, fn, complaints } = start()
    const config = driver.structures.get(4)
    const bar = fn.bar(config?.bar ?? 0)
    bar.write8((config?.offset ?? 0) + 32, 0)
    expect([model.writeback, driver.config8(32)]).toEqual([false, 0])
    bar.write32((config?.offset ?? 0) + 20, 4096)
    expect([driver.config32(20), complaints()]).toEqual([512, ['5.2.6.1']])
    driver.status = 0
    expect(model.writeback).toBe(true)
  })

  it('§ 5.2.5.2 keeps nothing back that cannot be flushed', () => {
    expect(start({}, bits(11, 32)).model.writeback).toBe(false)
  })

  it('tells of another capacity', () => {
    const { model, driver } = start()
    const before = driver.get8(21)
    model.resize(0x100000005)
    expect([driver.config32(0), driver.config32(4)]).toEqual([5, 1])
    expect(driver.get8(21)).not.toBe(before)
  })

  it('holds requests, and answers them in any order', () => {
    const { model, ask, queue } = start()
    model.hold()
    expect(ask(0, 0, [], 512).written).toBeUndefined()
    expect(model.held).toBe(1)
    model.release()
    expect([model.held, queue?.takeUsed()]).toEqual([0, [{ id: 0, len: 513 }]])
  })
})

describe('a block device that is odd, or worse', () => {
  it('has lengths that mean nothing when it is sloppy', () => {
    expect(start({}, ALL, sloppy()).ask(1, 0, sector(1))).toMatchObject({ status: 0, written: 0x10000 })
  })

  const cases: Readonly<Record<HostileBlockKind, object>> = {
    'status-garbage': { status: 0x7f },
    'status-missing': { status: 0xee },
    'io-error': { status: 1, written: 1 },
    'answer-garbage': { status: 0, answer: sector(0xff) },
    'answer-short': { status: 0, written: 1 },
    'answer-zero': { status: 0, answer: sector(0xee), written: 513 },
  }
  it.each(Object.entries(cases))('%s', (kind, expected) => {
    const profile = hostile({ kind: kind as HostileBlockKind })
    const { ask } = start({}, ALL, profile)
    expect(ask(0, 0, [], 512)).toMatchObject(expected)
    expect(profile.done).toBe(1)
    expect(ask(0, 0, [], 512)).toEqual({ status: 0, answer: sector(0), written: 513 })
  })
})
