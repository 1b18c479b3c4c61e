import { once } from 'node:events'
import { setImmediate as turn } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { type DeviceMoments, modelFunction, NetModel } from '@virtio-ts/device-models'
import { type FaultReport, NetDriver, type NetPairTransfer, NetQueuePair, type PairReport } from '@virtio-ts/driver-net'
import { type MappedDma, memfdDma } from '@virtio-ts/memory/memfd'
import { mapShared } from '@virtio-ts/native'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sharedTransport } from './shared-transport.fixture.ts'

const PAIRS = 2
const FRAMES = 1000

interface Told {
  readonly ready?: number
  readonly fault?: FaultReport
  readonly stopped?: PairReport
  readonly idle?: readonly unknown[]
}

/** A thread that serves one pair, and what it told. */
class PairWorker {
  readonly told: Told[] = []
  readonly #worker: Worker

  constructor(transfer: NetPairTransfer) {
    // The build: hooks that load TypeScript cannot be had in one worker after the other (Node 20, swc).
    this.#worker = new Worker(new URL('./pair-worker.fixture.mjs', import.meta.url), {
      execArgv: [],
      workerData: { transfer },
    })
    this.#worker.on('message', (message: Told) => void this.told.push(message))
    this.#worker.on('error', (error) => {
      throw error
    })
  }

  async find<Key extends keyof Told>(key: Key): Promise<NonNullable<Told[Key]>> {
    for (;;) {
      const found = this.told.find((message) => message[key] !== undefined)
      if (found) return found[key]!
      await turn()
    }
  }

  async stop(reason?: FaultReport): Promise<Told> {
    this.#worker.postMessage({ stop: reason ?? null })
    await once(this.#worker, 'exit')
    return this.told.find(({ stopped }) => stopped)!
  }
}

describe.each(['split', 'packed'] as const)('queue pairs in workers, %s rings', (format) => {
  let dma: MappedDma
  beforeEach(() => {
    dma = memfdDma(64 << 20)
  })
  afterEach(() => {
    // Everything was given back, whatever happened.
    expect(dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    dma.close()
  })

  async function open(profile?: (point: string, moment: never) => void) {
    const model = new NetModel({ queuePairs: PAIRS, features: { MQ: true, RSS: true }, backlog: FRAMES })
    const fn = modelFunction(model, {
      dma,
      execution: 'deferred',
      ringFeatures: { RING_PACKED: format === 'packed' },
      ...(profile && { profile: { name: 'changed', on: profile as never } }),
    })
    const shared = sharedTransport(await VirtioPciDriver.attach(fn))
    const driver = await NetDriver.open(shared.transport, { queuePairs: PAIRS, rss: true, transferPairs: 'all' })
    const workers = driver.pairs.map((pair) => new PairWorker(pair.transfer()))
    for (const worker of workers) await worker.find('ready')
    return { model, fn, shared, driver, workers }
  }

  const frame = (driver: NetDriver, flow: number): Uint8Array => {
    const bytes = new Uint8Array(60 + (flow % 1000))
    bytes.set(driver.mac)
    bytes.set([2, 0, 0, 0, 0, 1], 6)
    bytes.set([8, 0, 0x45, 0, (bytes.length - 14) >> 8, bytes.length - 14, 0, 1, 0x40, 0, 64, 17], 12)
    bytes.set([10, 0, 0, 1, 10, 0, 0, 2, flow >> 8, flow, 0, 9, 0, bytes.length - 34], 26)
    return bytes
  }

  it('pass every packet, and leave nothing behind', async () => {
    const { model, fn, shared, driver, workers } = await open()
    const seen = new Map<number, number>()
    const pairs = new Set<number>()
    model.onFrame((bytes, _, pair) => {
      const flow = (bytes[34]! << 8) | bytes[35]!
      const expected = frame(driver, flow)
      const back = [...bytes.subarray(6, 12), ...bytes.subarray(0, 6), ...bytes.subarray(12)]
      if (Buffer.compare(Uint8Array.from(back), expected) === 0) seen.set(flow, (seen.get(flow) ?? 0) + 1)
      pairs.add(pair)
    })
    for (let flow = 0; flow < FRAMES; flow++) {
      expect(model.deliver(frame(driver, flow))).not.toBe('dropped')
      if (flow % 50 === 0) await turn()
    }
    while (seen.size < FRAMES) await turn()
    expect([...seen.values()].every((times) => times === 1)).toBe(true)
    expect(pairs).toEqual(new Set([0, 1]))
    for (const [i, worker] of workers.entries()) {
      const { stopped, idle } = await worker.stop()
      expect(idle).toEqual([0, -1, false])
      driver.reportPair(i, stopped!)
    }
    expect(driver.stats()).toMatchObject({ rx_packets: FRAMES, tx_packets: FRAMES, tx_in_flight: 0, queue_pairs: 2 })
    expect(driver.describe().queues[0]?.used).toBeGreaterThan(0)
    await driver.close()
    shared.dispose()
    expect(fn.violations).toEqual([])
    await fn.close()
  })

  it('can be adopted only in the memory they lie in, and once', async () => {
    const model = new NetModel({ queuePairs: PAIRS, features: { MQ: true } })
    const fn = modelFunction(model, { dma, ringFeatures: { RING_PACKED: format === 'packed' } })
    const shared = sharedTransport(await VirtioPciDriver.attach(fn))
    const driver = await NetDriver.open(shared.transport, { queuePairs: PAIRS, transferPairs: 'others' })
    const [first, second] = driver.pairs
    // The first is the owner's, and has its buffers.
    expect(() => first!.transfer()).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    const transfer = structuredClone(second!.transfer())
    expect(() => second!.transfer()).toThrow(expect.objectContaining({ code: 'ring.in-use' }))
    expect([second!.reserve(60), second!.receive(() => {}, 1)]).toEqual([-1, 0])
    const notify = { notifyReceive: () => {}, notifyTransmit: () => {} }
    const { deviceAddress } = transfer.memory
    const mapping = mapShared(dma.fd, dma.length)
    const { bytes } = mapping
    const all = { bytes, deviceAddress, ...notify }
    const elsewhere = [
      { ...all, bytes: bytes.subarray(0, 4096) },
      { ...all, bytes: bytes.subarray(1 << 20), deviceAddress: deviceAddress + (1 << 20) },
      { ...all, deviceAddress: transfer.packets.deviceAddress + 4096 },
    ]
    for (const options of elsewhere) expect(() => NetQueuePair.adopt(transfer, options)).toThrow(RangeError)
    const lost = { ...transfer, packets: { ...transfer.packets, length: dma.length } }
    expect(() => NetQueuePair.adopt(lost, all)).toThrow(RangeError)
    const pair = NetQueuePair.adopt(transfer, all)
    expect(() => pair.transfer()).toThrow('only its owner')
    const slot = pair.reserve(60)
    pair.setEnabled(false)
    expect([pair.reserve(60), pair.commit(slot, 60)]).toEqual([-1, false])
    pair.setEnabled(true)
    expect(pair.send(new Uint8Array(60))).toBe(true)
    const faults: string[] = []
    pair.onFault(({ code }) => faults.push(code))
    pair.stop()
    pair.stop({ code: 'device.gone', message: 'too late' })
    pair.setEnabled(true)
    expect([pair.reserve(60), pair.fault, faults]).toEqual([-1, undefined, []])
    mapping.unmap()
    await driver.close()
    shared.dispose()
    await fn.close()
  })

  it('fail as a whole when one of them finds that the device lies', async () => {
    let lying = false
    const { model, fn, shared, driver, workers } = await open((point, moment) => {
      const used = moment as DeviceMoments['used']
      if (point !== 'used' || !lying || used.ring.queue !== 2) return
      for (const element of used.elements) Object.assign(element, { id: 40_000 })
    })
    const faults: string[] = []
    driver.on('fault', ({ code }) => faults.push(code))
    lying = true
    for (let flow = 0; flow < 100; flow++) model.deliver(frame(driver, flow))
    // What the application is there for: it carries the news from one thread to the others.
    const fault = await workers[1]!.find('fault')
    driver.reportFault(1, fault)
    expect(faults).toEqual([fault.code])
    expect(fault.code).toMatch(/^ring\./)
    await workers[0]!.stop(driver.pairs[0]!.fault ?? fault)
    expect(await workers[0]!.find('fault')).toMatchObject({ code: fault.code })
    await workers[1]!.stop()
    await driver.close()
    shared.dispose()
    await fn.close()
  })
})
