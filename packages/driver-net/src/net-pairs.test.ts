import type { NetModelOptions } from '@virtio-ts/device-models'
import { NetHashReport, NetHashType } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { modelFunction, NetModel } from '@virtio-ts/device-models'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type ModelBench, type ModelBenchOptions, openModelBench } from '../test-support/net-bench.ts'
import { NetDriver, NetHeaderFields, type NetOptions, type NetQueuePair, packetHash } from './index.ts'
import { DEFAULT_HASH_KEY } from './steering-options.ts'

const benches: ModelBench[] = []

async function bench(options: ModelBenchOptions = {}): Promise<ModelBench> {
  const opened = await openModelBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { driver, fn } of benches.splice(0)) {
    await driver.close()
    expect(fn.violations).toEqual([])
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  }
})

const several = (queuePairs = 4, features: NetModelOptions['features'] = {}): NetModelOptions => ({
  queuePairs,
  features: { MQ: true, ...features },
})

/** A UDP packet of a flow, to the driver. */
function packet(driver: NetDriver, flow: number, length = 100): Uint8Array {
  const frame = new Uint8Array(length)
  frame.set(driver.mac)
  frame.set([2, 0, 0, 0, 0, 1], 6)
  frame.set([8, 0, 0x45, 0, 0, length - 14, 0, 1, 0x40, 0, 64, 17], 12)
  frame.set([10, 0, 0, 1, 10, 0, 0, 2, flow >> 8, flow & 0xff, 0, 9, 0, length - 34], 26)
  return frame
}

/** The answer to it. */
function answer(frame: Uint8Array): Uint8Array {
  const out = frame.slice()
  out.set(frame.subarray(6, 12), 0)
  out.set(frame.subarray(0, 6), 6)
  out.set(frame.subarray(30, 34), 26)
  out.set(frame.subarray(26, 30), 30)
  out.set(frame.subarray(36, 38), 34)
  out.set(frame.subarray(34, 36), 36)
  return out
}

const flowOf = (frame: Uint8Array): number => (frame[34]! << 8) | frame[35]!

/** Flows that came in, by pair. */
function listen(driver: NetDriver): number[][] {
  const flows: number[][] = driver.pairs.map(() => [])
  for (const [i, pair] of driver.pairs.entries()) {
    pair.onReceive(() => {
      do while (pair.receive((received) => flows[i]!.push(flowOf(received.toFrame())), 16) > 0);
      while (pair.armReceive())
    })
  }
  return flows
}

describe('§ 5.1.6.5.6 queue pairs', () => {
  it('as many as wanted and there are, each with memory of its own', async () => {
    const { driver, model } = await bench({ model: several(3), options: { queuePairs: 8 } })
    expect(driver.pairs.map(({ index }) => index)).toEqual([0, 1, 2])
    expect(new Set(driver.pairs.map(({ bytes }) => bytes.byteOffset)).size).toBe(3)
    expect(model.steering.pairs).toBe(3)
    expect(driver.describe().queuePairs).toEqual({ wanted: 8, device: 3, setUp: 3, inUse: 3 })
    expect(driver.describe().queues.map(({ name, index }) => `${name} ${index}`)).toEqual([
      'receiveq1 0',
      'transmitq1 1',
      'receiveq2 2',
      'transmitq2 3',
      'receiveq3 4',
      'transmitq3 5',
      'controlq 6',
    ])
    expect(driver.stats().queue_pairs).toBe(3)
  })

  it('of which fewer are wanted leave the control queue behind all of them', async () => {
    const { driver, model } = await bench({ model: several(8), options: { queuePairs: 2 } })
    expect(driver.describe().queues.at(-1)).toMatchObject({ name: 'controlq', index: 16 })
    await driver.setReceiveMode({ allMulticast: true })
    expect(model.receiveFilter.allMulticast).toBe(true)
    expect(model.steering.pairs).toBe(2)
  })

  it.each([{}, { queuePairs: 1 }])('but one are not asked for by %j: MQ is left alone', async (options) => {
    const { driver, model } = await bench({ model: several(8), options })
    expect(driver.features.has('MQ')).toBe(false)
    expect(driver.describe().queues.at(-1)).toMatchObject({ name: 'controlq', index: 2 })
    expect(model.counters.controlCommands).toBe(0)
  })

  it('of a device without MQ are one, and it says so', async () => {
    const { driver } = await bench({ options: { queuePairs: 4 } })
    expect(driver.pairs.length).toBe(1)
    expect(driver.describe().queuePairs).toEqual({ wanted: 4, device: 1, setUp: 1, inUse: 1 })
    await expect(driver.setQueuePairs(2)).rejects.toThrow(RangeError)
    await driver.setQueuePairs(1)
  })

  it.each([0, 0x8000, 0x8001, 0xffff])('of a device that says it has %d are one', async (maxPairs) => {
    const { driver, model, frame, received, turns } = await bench({
      model: { ...several(2), maxPairs },
      options: { queuePairs: 2 },
    })
    expect(driver.features.has('MQ')).toBe(false)
    expect(driver.pairs.length).toBe(1)
    model.deliver(frame())
    await turns()
    expect(received.length).toBe(1)
  })

  it('of a device that changes its mind in between cannot be opened', async () => {
    const model = new NetModel({ ...several(2), maxPairs: 2 })
    let reads = 0
    const profile = {
      name: 'fickle',
      on: (point: string, moment: { offset?: number; width?: number; value?: number }) => {
        if (point === 'config-read' && moment.offset === 8 && moment.width === 2 && ++reads > 1) moment.value = 0
      },
    }
    const fn = modelFunction(model, { profile: profile as never })
    const opening = NetDriver.open(await VirtioPciDriver.attach(fn), { queuePairs: 2 })
    await expect(opening).rejects.toMatchObject({ code: 'net.config-invalid' })
    expect(fn.dma.stats.allocatedBytes).toBe(0)
    await fn.close()
  })

  it.each([0, 1.5, 0x8001, Number.NaN])('%d of them cannot be asked for', async (queuePairs) => {
    const fn = modelFunction(new NetModel(several()))
    await expect(NetDriver.open(await VirtioPciDriver.attach(fn), { queuePairs })).rejects.toThrow(RangeError)
    await fn.close()
  })

  it.each([false, true])(
    'pass packets both ways, each flow by the pair it was sent by (packed: %s)',
    async (packed) => {
      const { driver, model, turns } = await bench({
        model: several(4),
        on: { ringFeatures: { RING_PACKED: packed } },
        options: { queuePairs: 4 },
      })
      const flows = listen(driver)
      const seen: number[] = []
      model.onFrame((_, __, pair) => seen.push(pair))
      for (const pair of driver.pairs) {
        const out = answer(packet(driver, 1000 + pair.index))
        expect(pair.send(out)).toBe(true)
      }
      expect(seen).toEqual([0, 1, 2, 3])
      for (let pair = 0; pair < 4; pair++) for (let i = 0; i < 3; i++) model.deliver(packet(driver, 1000 + pair))
      await turns()
      expect(flows).toEqual([0, 1, 2, 3].map((pair) => [1000 + pair, 1000 + pair, 1000 + pair]))
      expect(driver.stats()).toMatchObject({ rx_packets: 12, tx_packets: 4 })
      expect(driver.pairs[2]!.stats()).toMatchObject({ rx_packets: 3, tx_packets: 1 })
    },
  )

  it('are polled one by one', async () => {
    const { driver, model } = await bench({ model: several(2), options: { queuePairs: 2, interrupts: 'none' } })
    const [, second] = driver.pairs
    second!.send(answer(packet(driver, 5)))
    expect(second!.poll()).toBe(1)
    model.deliver(packet(driver, 5))
    const lengths: number[] = []
    expect(second!.receive(({ length }) => lengths.push(length), 16)).toBe(1)
    expect(lengths).toEqual([100])
    expect(driver.receive(() => {}, 16)).toBe(0)
  })

  it('out of use send nothing, and the device hears of it after that', async () => {
    const { driver, model, turns } = await bench({ model: several(4), options: { queuePairs: 4 } })
    const flows = listen(driver)
    const third = driver.pairs[2]!
    const slot = third.reserve(60)
    const fewer = driver.setQueuePairs(2)
    // From the moment the command is there: § 5.1.6.5.6.1.
    expect(third.reserve(60)).toBe(-1)
    expect(third.commit(slot, 60)).toBe(false)
    await fewer
    expect(model.steering.pairs).toBe(2)
    expect(driver.describe().queuePairs.inUse).toBe(2)
    for (let flow = 0; flow < 40; flow++) model.deliver(packet(driver, flow))
    await turns()
    expect(flows.map(({ length }) => length > 0)).toEqual([true, true, false, false])
    await driver.setQueuePairs(4)
    expect(third.send(answer(packet(driver, 7)))).toBe(true)
    model.deliver(packet(driver, 7))
    await turns()
    expect(flows[2]).toEqual([7])
  })

  it('stay as they are when the device refuses', async () => {
    const refuse = {
      name: 'refusing',
      on: (point: string, moment: { class?: number; ack?: number }) => {
        if (point === 'control' && moment.class === 4 && refusing) moment.ack = 1
      },
    }
    let refusing = false
    const { driver } = await bench({ model: several(2), profile: refuse as never, options: { queuePairs: 2 } })
    refusing = true
    await expect(driver.setQueuePairs(1)).rejects.toMatchObject({ code: 'net.control-refused' })
    expect(driver.pairs[1]!.reserve(60)).not.toBe(-1)
    expect(driver.describe().queuePairs.inUse).toBe(2)
  })

  it('which the device refuses from the start fail the opening, and leave nothing behind', async () => {
    const profile = {
      name: 'refusing',
      on: (point: string, moment: { ack?: number }) => {
        if (point === 'control') moment.ack = 1
      },
    }
    const fn = modelFunction(new NetModel(several(2)), { profile: profile as never })
    await expect(NetDriver.open(await VirtioPciDriver.attach(fn), { queuePairs: 2 })).rejects.toMatchObject({
      code: 'net.control-refused',
    })
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  })

  it('fail together', async () => {
    const { driver, model, fn, turns } = await bench({ model: several(2), options: { queuePairs: 2 } })
    const told: string[] = []
    for (const pair of driver.pairs) pair.onFault(({ code }) => told.push(`${pair.index} ${code}`))
    driver.on('fault', ({ code }) => told.push(`driver ${code}`))
    driver.reportFault(1, { code: 'ring.used-id', message: 'found by a worker', detail: { id: 7 } })
    expect(told).toEqual(['0 ring.used-id', '1 ring.used-id', 'driver ring.used-id'])
    expect(
      driver.pairs.map((pair: NetQueuePair) => [pair.reserve(60), pair.receive(() => {}, 1), pair.fault?.code]),
    ).toEqual([
      [-1, 0, 'ring.used-id'],
      [-1, 0, 'ring.used-id'],
    ])
    expect(() => driver.reportFault(2, { code: 'x', message: 'y' })).toThrow(RangeError)
    model.deliver(packet(driver, 1))
    await turns()
    expect(fn.violations).toEqual([])
  })

  it('are drained and closed together', async () => {
    const { driver } = await bench({ model: several(2), on: { execution: 'deferred' }, options: { queuePairs: 2 } })
    for (const pair of driver.pairs) for (let i = 0; i < 5; i++) pair.send(answer(packet(driver, pair.index)))
    expect(await driver.drain()).toBe(0)
    expect(driver.stats()).toMatchObject({ tx_completed: 10, tx_in_flight: 0 })
    await driver.close()
    expect(driver.pairs.map((pair) => pair.fault)).toEqual([undefined, undefined])
    expect(driver.pairs.map((pair) => pair.send(new Uint8Array(60)))).toEqual([false, false])
  })

  it('cannot be handed over where the bus is bound to this thread', async () => {
    const { driver } = await bench({ model: several(2), options: { queuePairs: 2, transferPairs: 'others' } })
    expect(() => driver.pairs[1]!.transfer()).toThrow(expect.objectContaining({ code: 'queue.bound-to-thread' }))
  })

  it('may have heads of their own', async () => {
    const heads: Uint8Array[] = []
    const head = (pair: number): Uint8Array => (heads[pair] = new Uint8Array(256))
    const { driver, model } = await bench({ model: several(2), options: { queuePairs: 2, head } })
    expect(heads.length).toBe(2)
    driver.pairs[1]!.send(answer(packet(driver, 5)))
    model.deliver(packet(driver, 5))
    let mine = false
    driver.pairs[1]!.receive((received) => (mine = received.head === heads[1]), 1)
    expect(mine).toBe(true)
  })
})

describe('§ 5.1.6.5.7 receive-side scaling', () => {
  const rss = { RSS: true, HASH_REPORT: true }

  it('spreads flows over the pairs by their hash, and reports it', async () => {
    const { driver, model } = await bench({
      model: several(4, rss),
      options: { queuePairs: 4, rss: true, hashReport: true, interrupts: 'none' },
    })
    expect(driver.headerLength).toBe(20)
    expect(model.steering).toMatchObject({ pairs: 4, hashTypes: NetHashType.ALL })
    expect(driver.rss).toMatchObject({ unclassified: 0, hashTypes: NetHashType.ALL, key: DEFAULT_HASH_KEY })
    expect(driver.hash?.key).toEqual(DEFAULT_HASH_KEY)
    for (let flow = 0; flow < 64; flow++) model.deliver(packet(driver, flow))
    let wrong = 0
    const counts = driver.pairs.map((pair) =>
      pair.receive((received) => {
        const { hashReport, hashValue } = received.fields
        const frame = received.toFrame()
        if (hashReport !== NetHashReport.UDPV4 || packetHash(frame, hashReport, DEFAULT_HASH_KEY) !== hashValue) wrong++
        if (driver.rss!.table[hashValue % 128] !== pair.index) wrong++
      }, 100),
    )
    expect(wrong).toBe(0)
    expect(counts.reduce((sum, count) => sum + count)).toBe(64)
    expect(counts.every((count) => count > 4)).toBe(true)
  })

  it('follows a table, and puts what has no hash where it is told', async () => {
    const { driver, model } = await bench({
      model: several(4, rss),
      options: {
        queuePairs: 4,
        rss: { table: [3, 3], unclassified: 2, hashTypes: NetHashType.TCPV4 },
        interrupts: 'none',
      },
    })
    const counts = (): number[] => driver.pairs.map((pair) => pair.receive(() => {}, 100))
    for (let flow = 0; flow < 8; flow++) model.deliver(packet(driver, flow))
    expect(counts()).toEqual([0, 0, 8, 0])
    await driver.setRss({ table: [1] })
    for (let flow = 0; flow < 8; flow++) model.deliver(packet(driver, flow))
    expect(counts()).toEqual([0, 8, 0, 0])
    // A table that names pairs which would go out of use.
    await driver.setRss({ table: [3, 0] })
    await expect(driver.setQueuePairs(2)).rejects.toThrow(RangeError)
    expect(driver.pairs[3]!.reserve(60)).not.toBe(-1)
    await driver.setRss({})
    await driver.setQueuePairs(2)
    expect(model.steering.rss?.table.every((pair) => pair < 2)).toBe(true)
    expect(driver.pairs[3]!.reserve(60)).toBe(-1)
  })

  it('works without MQ', async () => {
    const { driver, model } = await bench({
      model: { queuePairs: 2, features: { MQ: false, RSS: true } },
      options: { queuePairs: 2, rss: true },
    })
    expect([driver.pairs.length, model.steering.pairs, driver.headerLength]).toEqual([2, 2, 12])
  })

  it.each<[string, NonNullable<NetOptions['rss']>]>([
    ['a table of three', { table: [0, 1, 0] }],
    ['a table longer than the device takes', { table: new Array(256).fill(0) }],
    ['an empty table', { table: [] }],
    ['a pair that is not there', { table: [0, 2] }],
    ['a pair that is not there for the rest', { unclassified: 2 }],
    ['a short key', { key: new Uint8Array(39) }],
    ['a long key', { key: new Uint8Array(41) }],
    ['types the device does not have', { hashTypes: NetHashType.UDPV6 }],
  ])('refuses %s before the device hears of it', async (_, config) => {
    const model = { ...several(2, rss), hashLimits: [40, 128, 7] as const }
    const { driver, model: device } = await bench({ model, options: { queuePairs: 2, rss: true } })
    const before = device.counters.controlCommands
    await expect(driver.setRss(config === true ? {} : config || {})).rejects.toThrow(RangeError)
    expect(device.counters.controlCommands).toBe(before)
  })

  it.each<[string, NetModelOptions, NetOptions]>([
    ['RSS that is not there', several(2), { rss: true }],
    ['hashes that are not there', several(2), { hashReport: true }],
    ['RSS of a device that supports no hash', { ...several(2, rss), hashLimits: [40, 128, 0] }, { rss: true }],
    ['RSS of a device without a table', { ...several(2, rss), hashLimits: [40, 0, 7] }, { rss: true }],
    [
      'hashes of a device that takes no whole key',
      { ...several(2, rss), hashLimits: [39, 128, 7] },
      { hashReport: true },
    ],
    ['RSS of a device with no pairs', { ...several(2, rss), maxPairs: 0 }, { rss: true }],
  ])('asked for %s does not open', async (_, model, options) => {
    const fn = modelFunction(new NetModel(model))
    const opening = NetDriver.open(await VirtioPciDriver.attach(fn), { queuePairs: 2, ...options })
    await expect(opening).rejects.toMatchObject({ code: 'net.unsupported' })
    expect(fn.dma.stats.allocatedBytes).toBe(0)
    await fn.close()
  })
})

describe('§ 5.1.6.4.5 hashes reported', () => {
  const hashes = { HASH_REPORT: true }

  it('without RSS are set up by a command of their own, again after the number of pairs changed', async () => {
    const { driver, model } = await bench({
      model: several(2, hashes),
      options: { queuePairs: 2, hashReport: { hashTypes: NetHashType.IPV4 }, interrupts: 'none' },
    })
    expect(model.steering).toMatchObject({ pairs: 2, hashTypes: NetHashType.IPV4 })
    const commands = model.counters.controlCommands
    await driver.setQueuePairs(1)
    expect(model.counters.controlCommands).toBe(commands + 2)
    model.deliver(packet(driver, 3))
    const reports: number[] = []
    driver.receive(({ fields }) => reports.push(fields.hashReport, fields.hashValue), 4)
    expect(reports).toEqual([NetHashReport.IPV4, packetHash(packet(driver, 3), NetHashReport.IPV4, DEFAULT_HASH_KEY)])
    await driver.setHash({ hashTypes: 0 })
    model.deliver(packet(driver, 3))
    driver.receive(({ fields }) => reports.push(fields.hashReport, fields.hashValue), 4)
    expect(reports.slice(2)).toEqual([0, 0])
  })

  it('of kinds nobody knows are none, and the packet is taken all the same', async () => {
    let report = 10
    const profile = {
      name: 'odd hashes',
      on: (point: string, moment: { chains?: readonly { writable: readonly Uint8Array[] }[] }) => {
        if (point === 'receive') moment.chains?.[0]?.writable[0]?.set([1, 2, 3, 4, report & 0xff, report >> 8], 12)
      },
    }
    const { driver, model } = await bench({
      model: several(1, hashes),
      profile: profile as never,
      options: { hashReport: true, interrupts: 'none' },
    })
    const seen: number[][] = []
    for (report of [10, 0xffff, 9, 0]) {
      model.deliver(packet(driver, 1))
      driver.receive(({ fields }) => seen.push([fields.hashReport, fields.hashValue]), 4)
    }
    expect(seen).toEqual([
      [0, 0],
      [0, 0],
      [9, 0x04030201],
      [0, 0],
    ])
    expect(driver.stats()).toMatchObject({ rx_packets: 4, rx_bad_hashes: 2 })
  })

  it('do not shift frames: with offloads, merged, split over buffers, and on the way out', async () => {
    const { driver, model, sent, received, turns } = await bench({
      model: several(1, { ...hashes, RSS: false }),
      options: { hashReport: true, receiveBufferLength: 256 },
    })
    const long = packet(driver, 1, 1500)
    model.deliver(long)
    model.deliver(packet(driver, 2))
    const header = Object.assign(new NetHeaderFields(), { flags: 1, csumStart: 34, csumOffset: 6 })
    model.deliver(packet(driver, 3), header)
    await turns()
    expect(received.map((frame) => [flowOf(frame), frame.length])).toEqual([
      [1, 1500],
      [2, 100],
      [3, 100],
    ])
    expect(received[0]).toEqual(long)
    const out = answer(packet(driver, 4))
    driver.send(out)
    driver.send(out, header)
    expect(sent.map(({ length }) => length)).toEqual([100, 100])
    expect(sent[0]).toEqual(out)
  })
})

describe('§ 5.1.6.5.9 coalescing of notifications', () => {
  const features = { NOTF_COAL: true, VQ_NOTF_COAL: true }
  const some = { maxPackets: 16, maxMicroseconds: 70_000 }
  const other = { maxPackets: 0xffffffff, maxMicroseconds: 0 }

  it('is set for all queues of a direction, and for single ones', async () => {
    const { driver, model } = await bench({ model: several(2, features), options: { queuePairs: 2 } })
    await driver.setCoalescing('transmit', some)
    await driver.setCoalescing('receive', other)
    expect([0, 1, 2, 3].map((queue) => model.coalescing(queue))).toEqual([other, some, other, some])
    await driver.setQueueCoalescing(1, 'receive', some)
    expect(await driver.queueCoalescing(1, 'receive')).toEqual(some)
    expect(await driver.queueCoalescing(0, 'receive')).toEqual(other)
    expect(await driver.queueCoalescing(1, 'transmit')).toEqual(some)
    expect(() => driver.queueCoalescing(2, 'receive')).toThrow(RangeError)
    await expect(driver.setCoalescing('receive', { maxPackets: -1, maxMicroseconds: 0 })).rejects.toThrow(RangeError)
  })

  it('of a queue the device knows nothing of gives its error, not numbers', async () => {
    const refusing = {
      name: 'refusing',
      on: (point: string, moment: { class?: number; ack?: number }) => {
        if (point === 'control' && moment.class === 6) moment.ack = 1
      },
    }
    const { driver } = await bench({ model: several(1, features), profile: refusing as never })
    await expect(driver.queueCoalescing(0, 'receive')).rejects.toMatchObject({ code: 'net.control-refused' })
  })

  it('is refused here where the device does without', async () => {
    const { driver, model } = await bench({ model: several(1) })
    for (const command of [
      () => driver.setCoalescing('receive', some),
      () => driver.setQueueCoalescing(0, 'receive', some),
      () => driver.queueCoalescing(0, 'receive'),
      () => driver.setRss({}),
      () => driver.setHash({}),
    ])
      await expect(command()).rejects.toMatchObject({ code: 'net.unsupported' })
    expect(model.counters.controlCommands).toBe(0)
  })
})

describe('settings', () => {
  const features = { RSS: true, HASH_REPORT: true, NOTF_COAL: true, VQ_NOTF_COAL: true }
  const options: NetOptions = { queuePairs: 4, rss: true, hashReport: true, vlanFilter: true }

  it('of one driver make the next one as it was', async () => {
    const one = await bench({ model: several(4, features), options })
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 7)
    const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 1)
    await one.driver.setMac(mac)
    await one.driver.setReceiveMode({ promiscuous: true, allMulticast: true, noBroadcast: true })
    await one.driver.setReceiveMode({ promiscuous: false })
    await one.driver.setMacTable({ unicast: [], multicast: [group] })
    await one.driver.addVlan(7)
    await one.driver.addVlan(8)
    await one.driver.removeVlan(7)
    await one.driver.setGuestOffloads({ checksum: true })
    await one.driver.setRss({ table: [0, 1, 2, 2], hashTypes: NetHashType.UDPV4 })
    await one.driver.setQueuePairs(3)
    await one.driver.setCoalescing('receive', { maxPackets: 3, maxMicroseconds: 4 })
    await one.driver.setQueueCoalescing(1, 'transmit', { maxPackets: 5, maxMicroseconds: 6 })
    const settings = structuredClone(one.driver.settings())
    const two = await bench({ model: several(4, features), options: { ...options, settings } })
    expect(two.driver.settings()).toEqual(settings)
    expect(two.model.receiveFilter).toEqual(one.model.receiveFilter)
    expect(two.model.offloads).toBe(one.model.offloads)
    expect(two.model.steering.rss).toEqual(one.model.steering.rss)
    expect(two.model.steering).toMatchObject({ pairs: 3, hashTypes: NetHashType.UDPV4 })
    expect([0, 1, 2, 3].map((queue) => two.model.coalescing(queue))).toEqual(
      [0, 1, 2, 3].map((queue) => one.model.coalescing(queue)),
    )
    expect(two.driver.mac).toEqual(mac)
    expect(two.driver.offloads).toEqual(one.driver.offloads)
    expect(two.driver.pairs.map((pair) => pair.reserve(60) >= 0)).toEqual([true, true, true, false])
  })

  it('that another device does not have are left out', async () => {
    const one = await bench({ model: several(4, features), options })
    await one.driver.setCoalescing('receive', { maxPackets: 3, maxMicroseconds: 4 })
    await one.driver.setReceiveMode({ promiscuous: true, noMulticast: true })
    await one.driver.addVlan(8)
    await one.driver.setGuestOffloads({ checksum: true, tso4: true })
    const bare = { CTRL_RX_EXTRA: false, CTRL_VLAN: false, GUEST_TSO4: false }
    const settings = one.driver.settings()
    const two = await bench({ model: { features: bare }, options: { queuePairs: 4, settings } })
    expect(two.driver.settings()).toMatchObject({ queuePairs: 1, receiveMode: { promiscuous: true } })
    expect(two.driver.offloads.receive).toMatchObject({ checksum: true, tso4: false })
  })

  it('are nothing much where nothing was set', async () => {
    const { driver } = await bench()
    expect(driver.settings()).toEqual({ queuePairs: 1 })
  })
})

describe('a transmit queue that fell asleep while it was full', () => {
  it('is woken after a short while, rather than after the usual one', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
    try {
      let asleep = false
      const profile = {
        name: 'sleeper',
        on: (point: string, moment: { queue?: number; ignored?: boolean }) => {
          if (point === 'notify' && moment.queue === 1 && asleep) moment.ignored = true
        },
      }
      const { driver } = await bench({ profile: profile as never, options: { queueSize: 4 } })
      let space = 0
      driver.onTransmitSpace(() => space++)
      // It has worked before: that is no progress since.
      driver.send(new Uint8Array(60))
      expect(await driver.drain()).toBe(0)
      asleep = true
      while (driver.send(new Uint8Array(60)));
      asleep = false
      await vi.advanceTimersByTimeAsync(49)
      expect(space).toBe(0)
      await vi.advanceTimersByTimeAsync(2)
      expect(driver.stats().notified_again).toBe(1)
      await vi.advanceTimersByTimeAsync(0)
      expect(space).toBe(1)
    } finally {
      vi.useRealTimers()
    }
  })
})
