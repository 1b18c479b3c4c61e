import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OpenedDevice, ownedPciDevice } from '@virtio-ts/device-locator'
import { BalloonModel, modelFunction, type ModelPciFunction } from '@virtio-ts/device-models'
import { heapDma } from '@virtio-ts/memory/heap'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MemoryMonitor } from '../machine/memory-monitor.ts'
import { balloonModel } from './balloon-device.ts'
import { type BalloonEvent, eventText } from './balloon-event.ts'
import { BalloonSession, type SessionOptions } from './balloon-session.ts'

const MiB = 2 ** 20
const PAGES = MiB / 4096

describe('BalloonSession', () => {
  let folder: string
  let model: BalloonModel
  let fn: ModelPciFunction<BalloonModel>
  let events: BalloonEvent[]
  let session: BalloonSession
  const press = (percent: number): void => writeFileSync(join(folder, 'p'), `some avg10=${percent.toFixed(2)} \n`)

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-session-'))
    press(0)
    events = []
    model = new BalloonModel()
    fn = modelFunction(model, { dma: heapDma(32 * MiB) })
  })

  afterEach(async () => {
    await session.stop()
    expect(fn.violations).toEqual([])
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    rmSync(folder, { recursive: true })
  })

  async function open(options: Partial<SessionOptions> = {}, device: OpenedDevice = ownedPciDevice(fn)): Promise<void> {
    const limits = { min: 0, max: 100 * PAGES, step: 2 * PAGES, reserve: 0, high: 10, low: 1 }
    const monitor = await MemoryMonitor.open({ pressure: join(folder, 'p'), cgroup: undefined })
    session = await BalloonSession.open(
      device,
      monitor,
      { name: 'model:balloon', limits, interval: 30, dryRun: false, free: 0, ...options },
      (event) => events.push(event),
      new AbortController().signal,
    )
  }

  async function until(condition: () => boolean, what: string): Promise<void> {
    for (let turn = 0; turn < 500 && !condition(); turn++) await new Promise((resolve) => setTimeout(resolve, 5))
    if (!condition()) throw new Error(`never happened: ${what}`)
  }

  it('follows the device in steps, and empties the balloon at the end', async () => {
    model.target = 5 * PAGES
    await open()
    await until(() => model.pages.size === 5 * PAGES, 'all of it')
    await session.stop()
    expect(model.actual).toBe(0)
    expect(events.map((event) => ('by' in event ? `${event.event} ${event.by / MiB}` : event.event))).toEqual([
      'ready',
      'target',
      'inflated 2',
      'inflated 2',
      'inflated 1',
      'deflated 5',
    ])
  })

  it('a device that asks for more often than the interval gets no more than a step in each', async () => {
    await open({ interval: 100_000 })
    await until(() => events.length > 0, 'ready')
    await new Promise((resolve) => setTimeout(resolve, 30))
    for (let target = 1; target <= 50; target++) {
      model.target = target * PAGES
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect(model.pages.size).toBe(0)
  })

  it('reports free memory, and not in a dry run', async () => {
    await open({ free: MiB })
    await until(() => model.reports.length > 0, 'a report')
    await session.stop()
    const count = model.reports.length
    fn = modelFunction(model, { dma: heapDma(32 * MiB) })
    await open({ free: MiB, dryRun: true })
    // Reports are made every two seconds.
    await new Promise((resolve) => setTimeout(resolve, 2300))
    expect(model.reports).toHaveLength(count)
  })

  it('says when the device wants more than there is', async () => {
    model.target = 64 * PAGES
    await open({ limits: { min: 0, max: 100 * PAGES, step: 64 * PAGES, reserve: 0, high: 10, low: 1 } })
    await until(() => events.some(({ event }) => event === 'short'), 'short')
    expect(events.find((event) => event.event === 'short')).toMatchObject({ missing: expect.any(Number) })
    expect(model.pages.size).toBeGreaterThan(30 * PAGES)
  })

  it('a device that fails ends it', async () => {
    await open()
    const failed = session.failed.catch((error: { code: string }) => error.code)
    fn.core.needsReset('test')
    expect(await failed).toBe('device.needs-reset')
  })

  it('a device that cannot be opened is let go of', async () => {
    let released = 0
    const release = (): Promise<void> => {
      released++
      return fn.close()
    }
    const device = { ...ownedPciDevice(fn), attach: () => Promise.reject(new Error('no')), release }
    await expect(open({}, device)).rejects.toThrow('no')
    expect(released).toBe(1)
    fn = modelFunction(model)
    await open()
  })
})

describe('balloonModel', () => {
  it.each([{ target: '2G' }, { target: 'x' }, { 'deflate-on-oom': 'maybe' }, { size: '1' }])(
    'refuses %j',
    (options) => {
      expect(() => balloonModel(options)).toThrow(expect.objectContaining({ code: 'locator.option' }))
    },
  )
})

describe('eventText', () => {
  it('says the same to people', () => {
    const both = { by: 2 * MiB, balloon: 3 * MiB, target: 8 * MiB }
    expect(eventText({ event: 'inflated', ...both, dryRun: false })).toBe('2M given to the device: 3M of 8M')
    expect(eventText({ event: 'deflated', ...both, dryRun: true })).toBe('2M would be taken back: 3M of 8M')
    expect(eventText({ event: 'pressure', pressed: true, some: 12.5, available: MiB })).toBe(
      'memory is short, work waited 12.5 % of the time, 1M available',
    )
    expect(eventText({ event: 'warning', code: 'x', message: 'a\x1b[2J' })).toBe('a?[2J')
  })
})
