import { heapDma } from '@virtio-ts/memory/heap'
import { NetHeader } from '@virtio-ts/spec'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { buildFrame } from './frames.fixture.ts'
import { NetHeaderFields } from './net-header.ts'
import { headroom } from './packet-layout.ts'
import { ScriptedQueue } from './scripted-queue.fixture.ts'
import { TransmitPath, type TransmitPathOptions } from './transmit-path.ts'

const HEADROOM = headroom(12)
const SMALL = 2048
const LARGE = 65_597
const { F_NEEDS_CSUM, F_DATA_VALID, F_RSC_INFO, GSO_TCPV4 } = NetHeader

function bench(more: Partial<TransmitPathOptions> = {}, size = 8) {
  const queue = new ScriptedQueue(size)
  const memory = heapDma(1 << 20).allocate(1 << 19)
  const small = { offset: 64, stride: 2112, length: HEADROOM + SMALL, count: 4 }
  const large = { offset: 64 + 4 * 2112, stride: 65_664, length: HEADROOM + LARGE, count: 2 }
  const path = new TransmitPath({
    queue,
    memory,
    small,
    large,
    headroom: HEADROOM,
    chains: size,
    headerLength: 12,
    splitHeader: false,
    notified: true,
    policy: {
      offloads: { checksum: true, tso4: true, tso6: true, ecn: true, ufo: true },
      maxFrame: 1514,
      minimumGsoSize: 1,
      trustChecksums: false,
    },
    ...more,
  })
  return {
    path,
    queue,
    memory,
    send(frame: Uint8Array, header?: NetHeaderFields | Uint8Array): boolean {
      const slot = path.reserve(frame.length)
      if (slot < 0) return false
      memory.bytes.set(frame, path.frameOffset(slot))
      return path.commit(slot, frame.length, header, 0)
    },
    /** What the device reads of its last chain. */
    last(): Uint8Array {
      path.publish()
      const { buffers } = queue.available.at(-1)!
      const pieces = buffers.map(({ address, length }) =>
        memory.bytes.subarray(address - memory.deviceAddress, address - memory.deviceAddress + length),
      )
      return Uint8Array.from(Buffer.concat(pieces))
    },
    stats(): Record<string, number> {
      const stats: Record<string, number> = {}
      path.addStats(stats)
      return stats
    },
  }
}

function fields(more: Partial<NetHeaderFields>): NetHeaderFields {
  return Object.assign(new NetHeaderFields(), more)
}

const frame = buildFrame({ ip: 4, payload: 100 })
const big = buildFrame({ ip: 4, payload: 20_000 })
const tso = fields({ flags: F_NEEDS_CSUM, gsoType: GSO_TCPV4, gsoSize: 1448, csumStart: 34, csumOffset: 16 })

describe('slots', () => {
  it('come in two sizes, and back when the device has used them', () => {
    const { path, queue } = bench()
    const slots = [1, SMALL, SMALL + 1, LARGE].map((length) => path.reserve(length))
    expect(slots.map((slot) => path.capacity(slot))).toEqual([SMALL, SMALL, LARGE, LARGE])
    expect(path.reserve(SMALL + 1)).toBe(-1)
    expect(() => path.reserve(LARGE + 1)).toThrow(RangeError)
    path.cancel(slots[2]!)
    expect(path.reserve(LARGE)).toBe(slots[2])
    path.commit(slots[0]!, 60, undefined, 0)
    path.publish()
    expect(path.inFlight).toBe(1)
    queue.use()
    expect(path.reclaim()).toBe(1)
    expect([path.inFlight, path.completed]).toEqual([0, 1])
  })

  it('do not overlap, and leave room for the header', () => {
    const { path } = bench()
    const small = Array.from({ length: 4 }, () => path.reserve(1))
    for (const slot of small.slice(2)) path.cancel(slot)
    const taken = [...small, path.reserve(LARGE), path.reserve(LARGE)]
      .map((slot) => ({ start: path.frameOffset(slot) - 12, end: path.frameOffset(slot) + path.capacity(slot) }))
      .sort((a, b) => a.start - b.start)
    for (const [i, { start }] of taken.entries()) expect(start).toBeGreaterThanOrEqual(i === 0 ? 64 : taken[i - 1]!.end)
  })

  it('that are large take the place of small ones while they are in use', () => {
    const { path, queue, send } = bench()
    expect([send(big, tso), send(big, tso), send(frame), send(frame)]).toEqual([true, true, true, true])
    expect([path.reserve(1), path.reserve(LARGE)]).toEqual([-1, -1])
    path.publish()
    queue.use()
    expect([path.reclaim(), path.inFlight]).toEqual([1, 3])
    const slot = path.reserve(1)
    expect(slot).toBeLessThan(4)
    expect(path.reserve(1)).toBe(-1)
    path.cancel(slot)
    expect(path.capacity(path.reserve(LARGE))).toBe(LARGE)
  })

  it('are never more than the queue holds', () => {
    const { path } = bench({ chains: 3 })
    expect([path.reserve(1), path.reserve(1), path.reserve(LARGE)].every((slot) => slot >= 0)).toBe(true)
    expect(path.reserve(1)).toBe(-1)
  })

  it('are committed or cancelled once', () => {
    const { path } = bench()
    const slot = path.reserve(60)
    path.cancel(slot)
    for (const wrong of [slot, -1, 6, 0.5]) {
      expect(() => path.cancel(wrong)).toThrow(RangeError)
      expect(() => path.commit(wrong, 60, undefined, 0)).toThrow(RangeError)
    }
    const other = path.reserve(60)
    path.commit(other, 60, undefined, 0)
    expect(() => path.cancel(other)).toThrow(RangeError)
    expect(() => path.commit(path.reserve(1), SMALL + 1, undefined, 0)).toThrow(RangeError)
  })

  it('never run out however they are used', () => {
    const { path, queue } = bench()
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { size: 'max', maxLength: 200 }), (steps) => {
        const held: number[] = []
        for (const step of steps) {
          if (step <= 1) {
            const slot = path.reserve(step === 0 ? 60 : LARGE)
            if (slot >= 0) held.push(slot)
          } else if (step === 2 && held.length > 0) path.cancel(held.pop()!)
          else if (step === 3 && held.length > 0) path.commit(held.shift()!, 60, undefined, 0)
          else if (step === 4) path.publish()
          else if (queue.available.length > 0) queue.use(0, queue.available.at(-1)!.cookie)
        }
        for (const slot of held) path.cancel(slot)
        path.publish()
        while (queue.available.length > 0) queue.use()
        path.reclaim()
        for (const length of [60, LARGE]) {
          const count = length === LARGE ? 2 : 4
          const all = Array.from({ length: count }, () => path.reserve(length))
          expect(new Set(all)).toEqual(new Set(length === LARGE ? [4, 5] : [0, 1, 2, 3]))
          for (const slot of all) path.cancel(slot)
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('space', () => {
  it('is taken back without a notification when slots run out', () => {
    const { path, queue, send } = bench()
    for (let i = 0; i < 4; i++) expect(send(frame)).toBe(true)
    path.publish()
    for (let i = 0; i < 4; i++) queue.use()
    expect(path.reserve(60)).toBeGreaterThanOrEqual(0)
    expect(path.owesSpace).toBe(false)
  })

  it('is asked for when there is none, and told of once', () => {
    const { path, queue, send } = bench()
    path.spaceTold()
    for (let i = 0; i < 4; i++) send(frame)
    path.publish()
    expect(path.reserve(60)).toBe(-1)
    expect([queue.enabled, path.owesSpace]).toEqual([true, false])
    queue.use()
    path.reclaim()
    expect(path.owesSpace).toBe(true)
    path.spaceTold()
    expect([queue.enabled, path.owesSpace]).toEqual([false, false])
  })

  it('that appears while it is asked for is found', () => {
    const { path, queue, send } = bench()
    for (let i = 0; i < 4; i++) send(frame)
    path.publish()
    queue.onEnable = () => queue.available.length === 4 && queue.use()
    expect(path.reserve(60)).toBeGreaterThanOrEqual(0)
    expect(queue.enabled).toBe(false)
  })

  it('for a long frame is not a short slot', () => {
    const { path, queue, send } = bench()
    send(big, tso)
    send(big, tso)
    send(frame)
    path.publish()
    expect(path.reserve(LARGE)).toBe(-1)
    queue.use(0, queue.available.at(-1)!.cookie)
    path.reclaim()
    expect(path.owesSpace).toBe(false)
    queue.use()
    path.reclaim()
    expect(path.owesSpace).toBe(true)
  })

  it('is not asked for where nobody notifies', () => {
    const { path, queue, send } = bench({ notified: false })
    queue.disableUsedNotifications()
    for (let i = 0; i < 4; i++) send(frame)
    expect(path.reserve(60)).toBe(-1)
    expect(queue.enabled).toBe(false)
  })
})

describe('the header', () => {
  it.each([
    [12, 0],
    [20, 0],
    // Memory that words of 32 bits do not fit on.
    [12, 2],
    [20, 2],
  ] as const)('of an ordinary frame is %d zeros, whatever was there (offset %d)', (headerLength, shift) => {
    const room = headroom(headerLength)
    const { path, memory, last } = bench({
      headerLength,
      headroom: room,
      small: { offset: 64 + shift, stride: 2112, length: room + SMALL, count: 4 },
    })
    const slot = path.reserve(frame.length)
    const at = path.frameOffset(slot)
    memory.bytes.fill(0xff, at - headerLength - 4, at)
    memory.bytes.set(frame, at)
    expect(path.commit(slot, frame.length, undefined, 0)).toBe(true)
    expect(last()).toEqual(Uint8Array.from([...new Array(headerLength).fill(0), ...frame]))
    expect([...memory.bytes.subarray(at - headerLength - 4, at - headerLength)]).toEqual([255, 255, 255, 255])
  })

  it('has ten bytes on legacy devices, and nothing of the frame in front is lost', () => {
    const { last, send } = bench({ headerLength: 10 })
    send(frame)
    expect(last()).toEqual(Uint8Array.from([...new Array(10).fill(0), ...frame]))
  })

  it('§ 5.1.6.6 is in a descriptor of its own where it has to be', () => {
    const { path, queue, send, last } = bench({ headerLength: 10, splitHeader: true })
    send(frame)
    path.publish()
    expect(queue.available[0]!.buffers.map(({ length, writable }) => [length, writable])).toEqual([
      [10, false],
      [frame.length, false],
    ])
    expect(last().subarray(10)).toEqual(frame)
  })

  it('may lie in front of the frame already, as a TAP interface puts it', () => {
    const { path, memory, last } = bench()
    const slot = path.reserve(frame.length)
    const at = path.frameOffset(slot) - 12
    tso.write(memory.bytes, at)
    memory.bytes.set([0xff, 0xff], at + NetHeader.NUM_BUFFERS)
    memory.bytes.set(buildFrame({ ip: 4, payload: 1900 }), at + 12)
    expect(path.commit(slot, 1954, memory.bytes, at)).toBe(true)
    expect([...last().subarray(0, 12)]).toEqual([1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0])
  })

  it('§ 5.1.6.2.1 is all the device ever gets of what was negotiated', () => {
    const gso = fc.constantFrom(0, 1, 3, 4, 5, 0x80, 0x81, 0x84, 0x7f)
    const word = fc.integer({ min: 0, max: 0xffff })
    const random = fc.record({
      flags: fc.integer({ min: 0, max: 255 }),
      gsoType: gso,
      hdrLen: word,
      gsoSize: word,
      csumStart: fc.constantFrom(0, 34, 54, 60_000),
      csumOffset: fc.constantFrom(0, 6, 16),
    })
    fc.assert(
      fc.property(random, fc.boolean(), fc.boolean(), (header, checksum, segmentation) => {
        const offloads = { checksum, tso4: segmentation && checksum, tso6: false, ecn: false, ufo: false }
        const { path, send, last } = bench({
          policy: { offloads, maxFrame: 1514, minimumGsoSize: 1, trustChecksums: false },
        })
        if (!send(frame, fields(header))) return
        const [flags, gsoType, hdrLen] = last()
        expect([0, checksum ? F_NEEDS_CSUM : 0]).toContain(flags)
        expect([0, segmentation && checksum ? GSO_TCPV4 : 0]).toContain(gsoType)
        if (gsoType !== 0) expect([flags, hdrLen]).toEqual([F_NEEDS_CSUM, 54])
        expect([...last().subarray(10, 12)]).toEqual([0, 0])
        expect(path.inFlight).toBe(1)
      }),
      { numRuns: 2000 },
    )
  })

  it('loses DATA_VALID and RSC_INFO', () => {
    const { send, last } = bench()
    expect(send(frame, fields({ flags: F_DATA_VALID | F_RSC_INFO }))).toBe(true)
    expect(last()[0]).toBe(0)
    const incomplete = { flags: F_NEEDS_CSUM | F_DATA_VALID | F_RSC_INFO, csumStart: 34, csumOffset: 16 }
    expect(send(frame, fields(incomplete))).toBe(true)
    expect(last()[0]).toBe(F_NEEDS_CSUM)
  })
})

describe('a frame that cannot be sent', () => {
  it.each<[string, Uint8Array, NetHeaderFields | undefined, string]>([
    ['13 bytes', new Uint8Array(13), undefined, 'tx_dropped_frame_short'],
    ['longer than the MTU', buildFrame({ ip: 4, payload: 1461 }), undefined, 'tx_dropped_frame_long'],
    [
      'to be segmented without NEEDS_CSUM',
      big,
      fields({ gsoType: GSO_TCPV4, gsoSize: 1448 }),
      'tx_dropped_gso_checksum',
    ],
    [
      'segmentation of a kind nobody knows',
      big,
      fields({ flags: F_NEEDS_CSUM, gsoType: 9, gsoSize: 1448 }),
      'tx_dropped_gso_type',
    ],
    ['a checksum outside', frame, fields({ flags: F_NEEDS_CSUM, csumStart: 300 }), 'tx_dropped_checksum_bounds'],
  ])('%s: is counted, and its slot is free again', (_, bad, header, counter) => {
    const { path, send, stats } = bench()
    expect(send(bad, header)).toBe(false)
    expect(stats()).toMatchObject({ [counter]: 1, tx_dropped: 1, tx_packets: 0 })
    expect(Array.from({ length: 4 }, () => path.reserve(1)).includes(-1)).toBe(false)
  })

  it('with a broken queue: the slot is free again, and nothing is counted as sent', () => {
    const { path, queue, send, stats } = bench()
    queue.broken = { name: 'x' } as never
    expect(send(frame)).toBe(false)
    expect(stats()).toMatchObject({ tx_packets: 0 })
    path.stop()
    expect(path.reserve(60)).toBe(-1)
  })
})

describe('a checksum the device does not complete', () => {
  it('is completed here', () => {
    const none = {
      offloads: { checksum: false, tso4: false, tso6: false, ecn: false, ufo: false },
      maxFrame: 1514,
      minimumGsoSize: 1,
      trustChecksums: false,
    }
    const { send, last } = bench({ policy: none })
    const pseudo = 10 * 256 + 1 + (10 * 256 + 2) + 6 + 120
    const partial = frame.slice()
    partial.set([pseudo >> 8, pseudo & 0xff], 34 + 16)
    expect(send(partial, fields({ flags: F_NEEDS_CSUM, csumStart: 34, csumOffset: 16 }))).toBe(true)
    expect([...last().subarray(0, 12)]).toEqual(new Array(12).fill(0))
    const segment = last().subarray(12 + 34)
    let sum = pseudo
    for (let i = 0; i < segment.length; i += 2) sum += segment[i]! * 256 + (segment[i + 1] ?? 0)
    expect(sum % 0xffff).toBe(0)
  })
})
