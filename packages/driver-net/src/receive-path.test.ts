import type { DmaRegion } from '@virtio-ts/memory'
import { heapDma } from '@virtio-ts/memory/heap'
import { NetHeader, VirtioError } from '@virtio-ts/spec'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { buildFrame } from './frames.fixture.ts'
import { noOffloads } from './net-offloads.ts'
import { ReceivePath, type ReceivePathOptions } from './receive-path.ts'
import { RECEIVED_HEAD_LENGTH } from './received-packet.ts'
import { ScriptedQueue } from './scripted-queue.fixture.ts'

const STRIDE = 256
const LENGTH = 200
const COUNT = 16
const HEADER = 12

interface Bench {
  readonly path: ReceivePath
  readonly queue: ScriptedQueue
  readonly memory: DmaRegion
  /** The device writes one packet over as many buffers as it takes. */
  deliver(frame: Uint8Array, header?: Partial<Record<keyof typeof NetHeader, number>>): void
  /** The device writes raw bytes to one buffer, and says it wrote `written`. */
  use(bytes: Uint8Array, written?: number): void
  /** Everything there is to receive, as copies. */
  frames(): Uint8Array[]
  stats(): Record<string, number>
}

function bench(more: Partial<ReceivePathOptions> = {}): Bench {
  const queue = new ScriptedQueue(COUNT)
  const memory = heapDma().allocate(STRIDE * COUNT + 64)
  const path = new ReceivePath({
    queue,
    memory,
    buffers: { offset: 64, stride: STRIDE, length: LENGTH, count: COUNT },
    headerLength: HEADER,
    mergeable: true,
    splitHeader: false,
    strict: true,
    head: new Uint8Array(RECEIVED_HEAD_LENGTH),
    device: 'test',
    generation: 1,
    policy: {
      offloads: { checksum: true, tso4: true, tso6: true, ecn: true, ufo: true },
      maxFrame: 1514,
      minimumGsoSize: 48,
      trustChecksums: false,
    },
    ...more,
  })
  path.fill()
  const at = (cookie: number): number => 64 + cookie * STRIDE
  const use = (bytes: Uint8Array, written = bytes.length): void => {
    memory.bytes.set(bytes, at(queue.available[0]!.cookie))
    queue.use(written)
  }
  return {
    path,
    queue,
    memory,
    use,
    deliver(frame, header = {}) {
      const packet = new Uint8Array(HEADER + frame.length)
      const view = new DataView(packet.buffer)
      packet.set(frame, HEADER)
      packet[NetHeader.FLAGS] = header.FLAGS ?? 0
      packet[NetHeader.GSO_TYPE] = header.GSO_TYPE ?? 0
      for (const field of ['HDR_LEN', 'GSO_SIZE', 'CSUM_START', 'CSUM_OFFSET'] as const)
        view.setUint16(NetHeader[field], header[field] ?? 0, true)
      view.setUint16(NetHeader.NUM_BUFFERS, header.NUM_BUFFERS ?? Math.ceil(packet.length / LENGTH), true)
      for (let done = 0; done < packet.length; done += LENGTH) use(packet.subarray(done, done + LENGTH))
    },
    frames() {
      const frames: Uint8Array[] = []
      while (path.receive((packet) => frames.push(packet.toFrame()), 64) > 0);
      return frames
    },
    stats() {
      const stats: Record<string, number> = {}
      path.addStats(stats)
      return stats
    },
  }
}

const small = buildFrame({ ip: 4, payload: 60 })
const large = buildFrame({ ip: 4, payload: 1000 })

/** For many frames, as comparing them one by one takes its time. */
function sameFrames(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  return one.length === other.length && one.every((frame, i) => Buffer.compare(frame, other[i]!) === 0)
}

/** Every buffer is either the device's or held for a packet whose rest is to come. */
function expectAllBuffersBack({ queue }: Bench): void {
  expect(queue.available.map(({ cookie }) => cookie).sort((a, b) => a - b)).toEqual([...new Array(COUNT).keys()])
}

afterEach(() => void vi.useRealTimers())

describe('frames', () => {
  it('come out as they went in, in one buffer or in many, and their buffers go back', () => {
    const device = bench()
    for (let round = 0; round < 20; round++) {
      device.deliver(small)
      device.deliver(large)
      expect(device.frames()).toEqual([small, large])
    }
    expectAllBuffersBack(device)
    expect(device.stats()).toMatchObject({
      rx_packets: 40,
      rx_bytes: 20 * (small.length + large.length),
      rx_merged_packets: 20,
      rx_dropped: 0,
    })
  })

  it('whose pieces look like packets of their own are one packet all the same', () => {
    const device = bench()
    const frame = new Uint8Array(3 * LENGTH - 2 * HEADER)
    // Where the next buffers begin: a header of zeros that says it is one buffer.
    for (const at of [LENGTH - HEADER, 2 * LENGTH - HEADER]) frame[at + NetHeader.NUM_BUFFERS] = 1
    device.deliver(frame)
    device.deliver(small)
    expect(device.frames()).toEqual([frame, small])
    expect(device.stats()).toMatchObject({ rx_packets: 2, rx_merged_packets: 1, rx_dropped: 0 })
  })

  it.each([12, 13, 14])('of header and %d bytes are none, but from 14', (length) => {
    const device = bench()
    device.deliver(small.subarray(0, length))
    device.use(new Uint8Array(HEADER).fill(0).with(NetHeader.NUM_BUFFERS, 1), length - 1)
    expect(device.frames().map((frame) => frame.length)).toEqual(length === 14 ? [14] : [])
    expect(device.stats()).toMatchObject({ rx_dropped: length === 14 ? 1 : 2 })
  })

  it('come out as they went in also where words of 32 bits do not fit on the memory', () => {
    const device = bench({ buffers: { offset: 66, stride: STRIDE, length: LENGTH, count: COUNT } })
    const frames = [small, small.subarray(0, 20)]
    for (const frame of frames) {
      const { cookie } = device.queue.available[0]!
      device.memory.bytes.set([...new Array(10).fill(0), 1, 0, ...frame], 66 + cookie * STRIDE)
      device.queue.use(HEADER + frame.length)
    }
    expect(device.frames()).toEqual(frames)
  })

  it('are described piece by piece', () => {
    const device = bench()
    device.deliver(large)
    const pieces: number[] = []
    device.path.receive(({ segmentCount, segmentLengths, segmentOffsets, length }) => {
      for (let i = 0; i < segmentCount; i++) {
        pieces.push(segmentLengths[i]!)
        expect(device.memory.bytes[segmentOffsets[i]!]).toBe(
          large[pieces.slice(0, -1).reduce((sum, piece) => sum + piece, 0)],
        )
      }
      expect(length).toBe(large.length)
    }, 1)
    expect(pieces.reduce((sum, piece) => sum + piece, 0)).toBe(large.length)
    expect(pieces[0]).toBe(LENGTH - HEADER)
  })

  it('keep to the budget, and the rest is there at the next call', () => {
    const device = bench()
    for (let i = 0; i < 5; i++) device.deliver(small)
    expect(device.path.receive(() => {}, 2)).toBe(2)
    expect(device.path.hasUsed()).toBe(true)
    expect(device.path.arm()).toBe(true)
    expect(device.path.receive(() => {}, 64)).toBe(3)
    expect(device.path.receive(() => {}, 64)).toBe(0)
    expect(device.path.arm()).toBe(false)
    expectAllBuffersBack(device)
  })

  it('may be of a length that is no multiple of anything, over random buffers', () => {
    const device = bench()
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 14, max: 1514 }), { minLength: 1, maxLength: 3 }), (lengths) => {
        const sent: Uint8Array[] = []
        for (const length of lengths) {
          if (Math.ceil((length + HEADER) / LENGTH) > device.queue.available.length) break
          sent.push(Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 0xff))
          device.deliver(sent.at(-1)!)
        }
        expect(sameFrames(device.frames(), sent)).toBe(true)
      }),
      { numRuns: 500 },
    )
    expectAllBuffersBack(device)
  })
})

describe('a sink', () => {
  it('that throws loses its packet and no buffer', () => {
    const device = bench()
    device.deliver(large)
    device.deliver(small)
    expect(() =>
      device.path.receive(() => {
        throw new Error('sink')
      }, 64),
    ).toThrow('sink')
    expect(device.frames()).toEqual([small])
    expectAllBuffersBack(device)
  })

  it('cannot call receive()', () => {
    const device = bench()
    device.deliver(small)
    expect(() => device.path.receive(() => device.path.receive(() => {}, 1), 1)).toThrow('its own sink')
    expectAllBuffersBack(device)
  })

  it('runs before the device has the buffers again', () => {
    const device = bench()
    device.deliver(large)
    device.path.receive(() => expect(device.queue.available.length).toBe(COUNT - 6), 1)
    expectAllBuffersBack(device)
  })

  it('sees packets that the device writes while buffers go back', () => {
    const device = bench()
    for (let i = 0; i < COUNT; i++) device.deliver(small)
    let more = 40
    device.queue.onPublish = () => {
      while (more > 0 && device.queue.available.length > 0) {
        more--
        device.deliver(small)
      }
    }
    expect(device.frames().length).toBe(COUNT + 40)
    expectAllBuffersBack(device)
  })
})

describe('lengths that lie', () => {
  it.each([0, 1, 11])('%i bytes written: less than a header', (written) => {
    const device = bench()
    device.use(new Uint8Array(LENGTH), written)
    device.deliver(small)
    expect(device.frames()).toEqual([small])
    expect(device.stats()).toMatchObject({ rx_dropped: 1, rx_dropped_header_short: 1 })
    expectAllBuffersBack(device)
  })

  it('§ 5.1.6.4 what the device wrote beyond the used length never shows', () => {
    const device = bench()
    const bytes = new Uint8Array(LENGTH).fill(0xee)
    bytes.fill(0, 0, HEADER)
    bytes[NetHeader.NUM_BUFFERS] = 1
    device.use(bytes, HEADER + 20)
    const [frame] = device.frames()
    expect(frame!.length).toBe(20)
  })

  it('a buffer of nothing inside a packet drops it, and the next one parses', () => {
    const device = bench()
    const first = new Uint8Array(LENGTH)
    first[NetHeader.NUM_BUFFERS] = 3
    device.use(first)
    device.use(new Uint8Array(0))
    device.use(new Uint8Array(10))
    device.deliver(small)
    expect(device.frames()).toEqual([small])
    expect(device.stats()).toMatchObject({ rx_dropped_fragment_empty: 1 })
    expectAllBuffersBack(device)
  })

  it('a header and nothing else in the first of several buffers drops them all', () => {
    const device = bench()
    const first = new Uint8Array(HEADER)
    first[NetHeader.NUM_BUFFERS] = 2
    device.use(first)
    device.use(new Uint8Array(100))
    device.deliver(small)
    expect(device.frames()).toEqual([small])
    expect(device.stats()).toMatchObject({ rx_dropped_fragment_empty: 1 })
  })

  it('more than an IP packet can be is dropped', () => {
    const device = bench({
      policy: { offloads: noOffloads, maxFrame: 1514, minimumGsoSize: 48, trustChecksums: false },
    })
    device.deliver(new Uint8Array(2000))
    device.deliver(small)
    expect(device.frames()).toEqual([small])
    expect(device.stats()).toMatchObject({ rx_dropped_frame_long: 1 })
    expectAllBuffersBack(device)
  })
})

describe('num_buffers', () => {
  function header(count: number): Uint8Array {
    const bytes = new Uint8Array(100)
    new DataView(bytes.buffer).setUint16(NetHeader.NUM_BUFFERS, count, true)
    return bytes
  }

  it.each([0, COUNT + 1, 65535])('%i breaks the queue of a device that ought to know', (count) => {
    const device = bench()
    device.deliver(small)
    device.use(header(count))
    device.deliver(small)
    expect(device.frames()).toEqual([small])
    expect(device.queue.broken).toMatchObject({ code: 'net.num-buffers', details: { detail: { count } } })
    expect(device.stats()).toMatchObject({ rx_dropped_num_buffers: 1 })
    expect(device.path.arm()).toBe(false)
  })

  it('0 costs a sloppy device one packet', () => {
    const device = bench({ strict: false })
    device.use(header(0))
    device.deliver(small)
    expect(device.frames()).toEqual([small])
    expect(device.queue.broken).toBeUndefined()
    expectAllBuffersBack(device)
  })

  it.each([COUNT + 1, 65535])(
    '%i breaks the queue of a sloppy device too: nobody can tell where the next packet begins',
    (count) => {
      const device = bench({ strict: false })
      device.use(header(count))
      expect(device.frames()).toEqual([])
      expect(device.queue.broken).toMatchObject({ code: 'net.num-buffers' })
    },
  )

  it.each([0, 2, 17, 65535])('%i is not looked at without MRG_RXBUF', (count) => {
    const device = bench({ mergeable: false })
    device.deliver(small, { NUM_BUFFERS: count })
    expect(device.frames()).toEqual([small])
    expect(device.queue.broken).toBeUndefined()
  })

  it('as many as there are is the most there can be', () => {
    const device = bench()
    const frame = buildFrame({ ip: 4, payload: COUNT * LENGTH - HEADER - 54 })
    device.deliver(frame, { GSO_TYPE: 1, GSO_SIZE: 1448 })
    expect(device.queue.available.length).toBe(0)
    expect(device.frames()).toEqual([frame])
  })

  it('of a dropped packet is drained exactly: 5000 packets, some bad, none misread', () => {
    const device = bench()
    const random = fc.sample(
      fc.record({ bad: fc.integer({ min: 0, max: 9 }), length: fc.integer({ min: 14, max: 1514 }) }),
      { numRuns: 5000, seed: 7 },
    )
    let dropped = 0
    for (const { bad, length } of random) {
      const frame = Uint8Array.from({ length }, (_, i) => (i ^ length) & 0xff)
      if (bad === 0) {
        dropped++
        device.deliver(frame, { GSO_TYPE: 1, GSO_SIZE: 1448 })
        expect(sameFrames(device.frames(), [])).toBe(true)
      } else {
        device.deliver(frame)
        expect(sameFrames(device.frames(), [frame])).toBe(true)
      }
    }
    expect(device.stats().rx_dropped).toBe(dropped)
    expectAllBuffersBack(device)
  })
})

describe('the rest of a packet', () => {
  it('that comes later completes it', () => {
    const device = bench()
    const packet = new Uint8Array(HEADER + large.length)
    packet.set(large, HEADER)
    packet[NetHeader.NUM_BUFFERS] = Math.ceil(packet.length / LENGTH)
    for (let done = 0; done < packet.length; done += LENGTH) {
      device.use(packet.subarray(done, done + LENGTH))
      expect(device.frames()).toEqual(done + LENGTH >= packet.length ? [large] : [])
    }
    expectAllBuffersBack(device)
  })

  it('that never comes breaks the queue after a while, and nothing of it gets out', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const device = bench()
    const first = new Uint8Array(LENGTH)
    first[NetHeader.NUM_BUFFERS] = 2
    device.use(first)
    expect(device.frames()).toEqual([])
    vi.advanceTimersByTime(900)
    device.path.checkRest()
    expect(device.queue.broken).toBeUndefined()
    vi.advanceTimersByTime(200)
    device.path.checkRest()
    expect(device.queue.broken).toMatchObject({ code: 'net.fragments-missing', details: { detail: { missing: 1 } } })
    expect(device.frames()).toEqual([])
  })

  it('has as long again after each buffer', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const device = bench()
    const first = new Uint8Array(LENGTH)
    first[NetHeader.NUM_BUFFERS] = 4
    device.use(first)
    for (let i = 0; i < 2; i++) {
      device.frames()
      vi.advanceTimersByTime(900)
      device.use(new Uint8Array(LENGTH))
    }
    device.frames()
    vi.advanceTimersByTime(900)
    device.use(new Uint8Array(LENGTH))
    expect(device.frames().length).toBe(1)
  })
})

describe('a header', () => {
  const needsChecksum = { FLAGS: NetHeader.F_NEEDS_CSUM, CSUM_START: 34, CSUM_OFFSET: 16 }

  function header(device: Bench): { readonly bytes: number[]; readonly flags: number; readonly gsoType: number } {
    let seen: ReturnType<typeof header> | undefined
    device.path.receive((packet) => {
      seen = { bytes: [...packet.header], flags: packet.fields.flags, gsoType: packet.fields.gsoType }
    }, 1)
    return seen!
  }

  it('reaches the sink checked, as bytes and as numbers, with num_buffers 0', () => {
    const device = bench()
    device.deliver(small, { ...needsChecksum, HDR_LEN: 999 })
    expect(header(device)).toEqual({ bytes: [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0], flags: 1, gsoType: 0 })
  })

  it('of one packet leaves nothing behind for the next', () => {
    const device = bench()
    device.deliver(large, { ...needsChecksum, GSO_TYPE: 1, GSO_SIZE: 536 })
    device.deliver(small, { HDR_LEN: 5, GSO_SIZE: 6, CSUM_START: 7, CSUM_OFFSET: 8 })
    expect(header(device)).toMatchObject({ flags: 1, gsoType: 1 })
    expect(header(device)).toEqual({ bytes: new Array(12).fill(0), flags: 0, gsoType: 0 })
  })

  it('of a dropped packet leaves nothing behind either', () => {
    const device = bench()
    device.deliver(small, { ...needsChecksum, GSO_TYPE: 4, GSO_SIZE: 536 })
    device.deliver(small)
    expect(device.path.receive(() => expect.unreachable(), 1)).toBe(1)
    expect(header(device)).toEqual({ bytes: new Array(12).fill(0), flags: 0, gsoType: 0 })
  })

  it('of ten bytes comes out as twelve', () => {
    const device = bench({ headerLength: 10, mergeable: false })
    const packet = new Uint8Array(10 + small.length)
    packet.set([1, 0, 0, 0, 0, 0, 34, 0, 16, 0])
    packet.set(small, 10)
    device.use(packet)
    let frame: Uint8Array | undefined
    device.path.receive((received) => {
      frame = received.toFrame()
      expect([...received.header]).toEqual([1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0])
    }, 1)
    expect(frame).toEqual(small)
  })

  // The device changes every byte after each read: only a private copy that was read once can come out consistent.
  it('is what was checked, however often the device rewrites it', () => {
    const memory = heapDma().allocate(STRIDE * COUNT + 64)
    const reads = new Map<number, number>()
    const bytes = new Proxy(memory.bytes, {
      get(target, key) {
        const at = typeof key === 'string' ? Number(key) : Number.NaN
        const value = Reflect.get(target, key, target)
        if (!Number.isInteger(at)) return typeof value === 'function' ? value.bind(target) : value
        reads.set(at, (reads.get(at) ?? 0) + 1)
        if (at % STRIDE === 64 + (NetHeader.GSO_TYPE % STRIDE) && reads.get(at)! > 1) return 4
        return value
      },
    })
    const device = bench({ memory: { ...memory, bytes } })
    // One read says IPv4 segmentation, every later one IPv6 segmentation, which this IPv4 frame is not.
    const packet = new Uint8Array(LENGTH)
    packet.set([0, 1, 0, 0, 0x18, 2, 0, 0, 0, 0, 1])
    packet.set(buildFrame({ ip: 4, payload: 100 }).subarray(0, LENGTH - HEADER), HEADER)
    memory.bytes.set(packet, 64 + device.queue.available[0]!.cookie * STRIDE)
    device.queue.use(LENGTH)
    const seen: number[] = []
    device.path.receive(({ fields, header: checked }) => seen.push(fields.gsoType, checked[NetHeader.GSO_TYPE]!), 1)
    // What decides about a packet is read once: of the frame every byte, of the header all but the two that choose the way.
    for (const [at, count] of reads) {
      const inHeader = (at - 64) % STRIDE
      expect([at, count]).toEqual([at, inHeader <= NetHeader.GSO_TYPE ? 2 : 1])
    }
    // Dropped, or passed on as what was held against the frame; never one thing checked and another passed on.
    expect([[], [1, 1]]).toContainEqual(seen)
  })

  it('of a packet to be segmented comes with a private copy of what it was held against', () => {
    const device = bench()
    const frame = buildFrame({ ip: 4, payload: 1000, tcpOptions: 12 })
    device.deliver(frame, { ...needsChecksum, GSO_TYPE: 1, GSO_SIZE: 536 })
    device.path.receive((packet) => {
      const { head, headLength } = packet
      expect(headLength).toBeGreaterThanOrEqual(66)
      expect(head.subarray(HEADER, HEADER + headLength)).toEqual(frame.subarray(0, headLength))
      // The device turns it into something else: what was checked still comes first.
      device.memory.bytes.fill(0xff, packet.segmentOffsets[0]!, packet.segmentOffsets[0]! + 34)
      expect(packet.toFrame().subarray(0, headLength)).toEqual(frame.subarray(0, headLength))
    }, 1)
    expect(device.stats().rx_packets).toBe(1)
  })
})

describe('a header in a descriptor of its own', () => {
  it('§ 5.1.6.6 takes exactly its length, and the frame the rest', () => {
    const { queue, memory } = bench({ headerLength: 10, mergeable: false, splitHeader: true })
    for (const { cookie, buffers } of queue.available) {
      const address = memory.deviceAddress + 64 + cookie * STRIDE
      expect(buffers).toEqual([
        { address, length: 10, writable: true },
        { address: address + 10, length: LENGTH - 10, writable: true },
      ])
    }
  })
})

describe('a queue that broke', () => {
  it('gives no more packets once the sink has stopped it', () => {
    const device = bench()
    for (let i = 0; i < 3; i++) device.deliver(small)
    let seen = 0
    const sink = (): void => {
      seen++
      device.path.stop()
    }
    expect([device.path.receive(sink, 10), seen]).toEqual([1, 1])
  })

  it('gives no more packets, used or not', () => {
    const device = bench()
    device.deliver(small)
    device.deliver(small)
    device.path.receive(() => device.path.stop(), 1)
    device.queue.fail(new VirtioError('ring.test', 'broken'))
    expect(device.frames()).toEqual([])
    expect(device.path.hasUsed()).toBe(false)
  })
})
