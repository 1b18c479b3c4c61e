import { sloppy, strict } from '@virtio-ts/device-models'
import { afterEach, describe, expect, it } from 'vitest'
import { type BalloonBench, type BalloonBenchOptions, openBalloonBench, turns } from '../test-support/balloon-bench.ts'
import { BalloonDriver, type BalloonStatistics, type PageSource } from './index.ts'

const benches: BalloonBench[] = []

async function bench(options: BalloonBenchOptions = {}): Promise<BalloonBench> {
  const opened = await openBalloonBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { driver, fn, source } of benches.splice(0)) {
    await driver.close()
    expect(fn.violations).toEqual([])
    expect(source.taken).toBe(0)
    source.release()
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  }
})

const interfaces: readonly (readonly [string, BalloonBenchOptions])[] = [
  ['modern', {}],
  ['legacy', { on: { interface: 'legacy' } }],
  ['deferred', { on: { execution: 'deferred' } }],
  ['without MSI-X', { on: { msix: false } }],
  ['packed', { on: { ringFeatures: { RING_PACKED: true } } }],
  ['strict', { profile: strict() }],
  ['sloppy', { profile: sloppy(), options: { trust: 'tolerant' } }],
  ['without any feature', { model: { features: noFeatures() } }],
]

function noFeatures(): Record<string, boolean> {
  const all = ['MUST_TELL_HOST', 'STATS_VQ', 'DEFLATE_ON_OOM', 'FREE_PAGE_HINT', 'PAGE_POISON', 'PAGE_REPORTING']
  return Object.fromEntries(all.map((name) => [name, false]))
}

describe.each(interfaces)('a device that is %s', (_name, options) => {
  it('§ 5.5.6.1 gets as many pages as it wants, and gives them back', async () => {
    const { model, driver, source } = await bench(options)
    const actual: number[] = []
    const targets: number[] = []
    driver.on('actual', (pages) => actual.push(pages))
    driver.on('target', (pages) => targets.push(pages))
    model.target = 600
    await turns()
    expect(driver).toMatchObject({ target: 600, actual: 600 })
    expect(model).toMatchObject({ actual: 600 })
    expect(model.pages.size).toBe(600)
    expect(source.taken).toBe(600)
    model.target = 1
    await turns()
    expect(model).toMatchObject({ actual: 1 })
    expect(model.pages.size).toBe(1)
    expect(source.taken).toBe(1)
    expect(actual).toEqual([256, 512, 600, 344, 88, 1])
    expect(targets).toEqual([600, 1])
  })
})

describe('pages', () => {
  it('are those of the source, by address', async () => {
    const { model, source } = await bench()
    const given: number[] = []
    const take = source.take.bind(source)
    source.take = (most) => {
      const pages = take(most)
      given.push(...pages)
      return pages
    }
    model.target = 300
    await turns()
    expect(model.pages).toEqual(new Set(given))
  })

  it('that the device wanted before the driver came are there soon', async () => {
    const { model, driver } = await bench()
    model.target = 100
    await turns()
    await driver.close()
    expect(model.actual).toBe(0)
    expect(model.target).toBe(100)
  })

  it.each([
    [true, 'after the device has acknowledged it', 0],
    [false, 'before the device has acknowledged it', 100],
  ])('§ 5.5.6.1 with MUST_TELL_HOST %s are used again %s', async (MUST_TELL_HOST, _when, given) => {
    const { model, source } = await bench({ model: { features: { MUST_TELL_HOST } } })
    model.target = 100
    await turns()
    model.acknowledging = false
    model.target = 0
    await turns()
    expect(source.taken).toBe(100 - given)
    model.acknowledging = true
    await turns()
    expect(source.taken).toBe(0)
  })

  it('§ 5.5.6.1 that were not acknowledged are not asked back', async () => {
    const { model, driver, source } = await bench()
    model.acknowledging = false
    model.target = 300
    await turns()
    model.target = 0
    await turns()
    expect(driver.actual).toBe(0)
    expect(source.taken).toBe(256)
    // The model would complain of a page that it does not have.
    model.acknowledging = true
    await turns()
    expect(source.taken).toBe(0)
    expect(model.pages.size).toBe(0)
  })

  it('that there are not enough of are told once, and given later', async () => {
    const { model, driver } = await bench({ source: { limit: 100 }, options: { retryInterval: 1 } })
    const missing: number[] = []
    driver.on('short', (pages) => missing.push(pages))
    model.target = 300
    await turns()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(missing).toEqual([200])
    expect(driver.actual).toBe(100)
    model.target = 50
    await turns()
    expect(driver.actual).toBe(50)
  })

  it('are given up to maxPages, whatever the device wants', async () => {
    const { model, driver } = await bench({ options: { maxPages: 10 } })
    model.target = 0xffffffff
    await turns()
    expect(driver).toMatchObject({ target: 0xffffffff, actual: 10 })
  })

  it('the device’s count is right after the driver has gone', async () => {
    const { model, driver } = await bench()
    model.target = 700
    await turns()
    await driver.close()
    expect(model.actual).toBe(0)
  })

  it('a device that does not answer keeps nobody from closing, and the pages come back with its reset', async () => {
    const { model, driver, source } = await bench({ options: { closeTimeout: 20 } })
    model.target = 300
    await turns()
    model.acknowledging = false
    await driver.close()
    expect(source.taken).toBe(0)
  })
})

describe('setLimit', () => {
  it('more pages come in, and pages come out, as far as the device wants them', async () => {
    const { model, driver, source } = await bench({ options: { maxPages: 0 } })
    model.target = 600
    await turns()
    expect(driver).toMatchObject({ target: 600, actual: 0, limit: 0 })
    for (const limit of [300, 500, 100, 0, 1000]) {
      driver.setLimit(limit)
      await turns()
      expect(driver).toMatchObject({ limit, actual: Math.min(limit, 600) })
      expect(model.pages.size).toBe(Math.min(limit, 600))
      expect(source.taken).toBe(Math.min(limit, 600))
    }
    model.target = 200
    await turns()
    expect(driver.actual).toBe(200)
  })

  it('§ 5.5.6.1 without DEFLATE_ON_OOM nothing comes out that the device wants, and nothing is added', async () => {
    const { model, driver } = await bench({ model: { features: { DEFLATE_ON_OOM: false } } })
    model.target = 300
    await turns()
    driver.setLimit(100)
    await turns()
    expect(driver.actual).toBe(300)
    model.target = 400
    await turns()
    expect(driver.actual).toBe(300)
    model.target = 50
    await turns()
    expect(driver.actual).toBe(50)
    model.target = 400
    await turns()
    expect(driver.actual).toBe(100)
  })

  it('takes whole numbers of pages only', async () => {
    const { driver } = await bench()
    for (const pages of [-1, 0.5, Number.NaN, 2 ** 32]) expect(() => driver.setLimit(pages)).toThrow(RangeError)
  })
})

describe('release', () => {
  it('§ 5.5.6.1 takes pages back with DEFLATE_ON_OOM, until the device changes its mind', async () => {
    const { model, driver } = await bench()
    model.target = 300
    await turns()
    expect(await driver.release(100)).toBe(100)
    await turns()
    expect(driver).toMatchObject({ actual: 200, target: 300 })
    expect(await driver.release(1000)).toBe(200)
    model.target = 301
    await turns()
    expect(driver.actual).toBe(301)
  })

  it('§ 5.5.6.1 is refused without', async () => {
    const { model, driver } = await bench({ model: { features: { DEFLATE_ON_OOM: false } } })
    model.target = 300
    await turns()
    await expect(driver.release(1)).rejects.toMatchObject({ code: 'balloon.deflate-forbidden' })
    await expect(driver.release(-1)).rejects.toBeInstanceOf(RangeError)
    expect(driver.actual).toBe(300)
  })
})

describe('§ 5.5.6.3.1 statistics', () => {
  it('are there from the beginning, and new ones whenever the device asks', async () => {
    let free = 100
    const { model, driver } = await bench({ options: { statistics: () => ({ free: free++, total: 2n ** 63n }) } })
    expect(model.hasStatistics).toBe(true)
    expect(Object.fromEntries(model.statistics)).toEqual({ 4: 100n, 5: 2n ** 63n })
    for (let round = 1; round < 5; round++) {
      expect(model.requestStatistics()).toBe(true)
      await turns(5)
      expect(model.statistics.get(4)).toBe(BigInt(100 + round))
    }
    expect(driver.stats()).toMatchObject({ statistics_told: 5 })
  })

  const everything: BalloonStatistics = {
    swapIn: 1,
    swapOut: 2,
    majorFaults: 3,
    minorFaults: 4,
    free: 5,
    total: 6,
    available: 7,
    caches: 8,
    hugePageAllocations: 9,
    hugePageFailures: 10,
  }

  it('can be all there are', async () => {
    const { model } = await bench({ options: { statistics: () => everything } })
    expect([...model.statistics]).toEqual(Array.from({ length: 10 }, (_, tag) => [tag, BigInt(tag + 1)]))
  })

  it('are the same ones every time, whatever the owner says later', async () => {
    const answers: BalloonStatistics[] = [{ free: 1, total: 2 }, everything, { total: 4 }]
    let round = 0
    const { model } = await bench({ options: { statistics: () => answers[round++]! } })
    for (let more = 0; more < 2; more++) {
      model.requestStatistics()
      await turns(5)
    }
    expect(Object.fromEntries(model.statistics)).toEqual({ 4: 5n, 5: 4n })
  })

  it('may take their time, and may fail: the device gets what it got before', async () => {
    let round = 0
    const failures: unknown[] = []
    const { model, driver } = await bench({
      options: {
        statistics: async () => {
          await turns(3)
          if (round++ === 1) throw new Error('no idea')
          return { free: round }
        },
      },
    })
    driver.on('source-failed', ({ code, cause }) => failures.push([code, (cause as Error).message]))
    model.requestStatistics()
    await turns(10)
    expect(failures).toEqual([['balloon.statistics', 'no idea']])
    expect(model.hasStatistics).toBe(true)
    expect(model.statistics.get(4)).toBe(1n)
    model.requestStatistics()
    await turns(10)
    expect(model.statistics.get(4)).toBe(3n)
  })

  it.each([[{}], [{ free: -1 }], [{ free: Number.NaN }], [{ free: 2n ** 64n }]])(
    'that make no sense, %o, leave no device behind',
    async (statistics) => {
      await expect(bench({ options: { statistics: () => statistics } })).rejects.toBeInstanceOf(RangeError)
    },
  )
})

describe('§ 5.5.6.7.1 reporting', () => {
  const free = { source: { free: 1024 * 1024, rangeLength: 8192 } }

  it('tells all that is free once, in reports of many ranges', async () => {
    const { model, driver } = await bench(free)
    expect(await driver.report()).toBe(1024 * 1024)
    expect(model.reports.map((ranges) => ranges.length)).toEqual([32, 32, 32, 32])
    expect(await driver.report()).toBe(0)
    expect(driver.stats()).toMatchObject({ reported_bytes: 1024 * 1024 })
  })

  it('goes on by itself', async () => {
    const { model } = await bench({ ...free, options: { reportInterval: 1 } })
    while (model.reports.length < 4) await new Promise((resolve) => setTimeout(resolve, 5))
    // What was reported once is not reported again.
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(model.reports).toHaveLength(4)
  })

  it('uses no memory before the device has acknowledged the report', async () => {
    const { model, driver, source } = await bench(free)
    const back: number[] = []
    const giveFree = source.giveFree.bind(source)
    source.giveFree = (ranges) => {
      back.push(ranges.length)
      giveFree(ranges)
    }
    model.acknowledging = false
    const reported = driver.report()
    await turns()
    expect(back).toEqual([])
    model.acknowledging = true
    await reported
    expect(back).toEqual([32, 32, 32, 32])
  })

  it('§ 5.5.3.1 is left alone by a driver that counts on a value, where the device cannot be told', async () => {
    const { driver } = await bench({ ...free, model: { features: { PAGE_POISON: false } }, options: { poison: 7 } })
    expect(driver.features.names).not.toContain('PAGE_REPORTING')
    expect(await driver.report()).toBe(0)
  })

  it.each([
    ['dense', 'dense', 3],
    ['fixed', 'fixed', 4],
  ] as const)('finds its queue where the numbers are %s', async (queueNumbers, _same, index) => {
    const { driver, model } = await bench({
      ...free,
      model: { queueNumbers, features: { FREE_PAGE_HINT: false } },
      options: { queueNumbers },
    })
    expect(driver.describe().queues.find(({ name }) => name === 'reporting_vq')?.index).toBe(index)
    expect(await driver.report()).toBe(1024 * 1024)
    expect(model.reports).toHaveLength(4)
  })

  it('finds its queue by what is offered, not by what was accepted', async () => {
    // statsq and free_page_vq are there, and this driver has no use for either.
    const { driver } = await bench({ ...free, options: { withoutFeatures: ['FREE_PAGE_HINT'] } })
    expect(driver.describe().queues.map(({ name, index }) => [name, index])).toEqual([
      ['inflateq', 0],
      ['deflateq', 1],
      ['reporting_vq', 4],
    ])
    expect(await driver.report()).toBe(1024 * 1024)
  })
})

describe('§ 5.5.6.6.1 poison', () => {
  it('is said before the device is live, and is in what is reported and in what is used again', async () => {
    const { model, driver, source, fn } = await bench({ source: { free: 65536 }, options: { poison: 0x5a5a5a5a } })
    expect(model.poison).toBe(0x5a5a5a5a)
    expect(await driver.report()).toBe(65536)
    expect(model.reports[0]?.map(({ value }) => value)).toEqual([0x5a])
    const filled: number[] = []
    const fill = source.fill.bind(source)
    source.fill = (range, value) => {
      filled.push(range.length, value)
      fill(range, value)
    }
    model.target = 2
    await turns()
    model.target = 0
    await turns()
    expect(filled).toEqual([4096, 0x5a5a5a5a, 4096, 0x5a5a5a5a])
    expect(fn.violations).toEqual([])
  })

  it('of hinted memory is filled again', async () => {
    const { model, source } = await bench({ source: { free: 8192, rangeLength: 4096 }, options: { poison: 9 } })
    const filled: number[] = []
    model.hint(2)
    await turns()
    source.fill = ({ length }) => void filled.push(length)
    model.hint(1)
    await turns()
    expect(filled).toEqual([4096, 4096])
  })

  it('is not agreed to by a driver that writes nothing', async () => {
    const { driver } = await bench({ source: { free: 65536 } })
    expect(driver.features.names).not.toContain('PAGE_POISON')
  })
})

describe('§ 5.5.6.5.1 hinting', () => {
  const free = { source: { free: 40 * 4096, rangeLength: 4096 } }

  it('gives all free memory for a command, and has it back when the device is done', async () => {
    const { model, driver, source } = await bench(free)
    model.hint(2)
    await turns()
    expect(model.hints).toHaveLength(40)
    expect(model.hintCommands).toEqual([2, 0])
    expect(source.takeFree(1, 'hint')).toEqual([])
    // Told to stop: memory stays away.
    model.hint(0)
    await turns()
    expect(source.takeFree(1, 'hint')).toEqual([])
    model.hint(1)
    await turns()
    const [range] = source.takeFree(1, 'hint')
    expect(range).toMatchObject({ length: 4096 })
    source.giveFree([range!])
    model.hint(3)
    await turns()
    expect(model.hints).toHaveLength(40)
    expect(model.hintCommands).toEqual([2, 0, 3, 0])
    expect(driver.stats()).toMatchObject({ hint_rounds: 2 })
  })

  it('stops when the device says so, and says that it has', async () => {
    const { model, source } = await bench({ ...free, on: { execution: 'deferred' } })
    let asked = 0
    source.takeFree = () => {
      asked++
      return []
    }
    model.acknowledging = false
    model.hint(2)
    await turns()
    model.hint(1)
    await turns()
    model.acknowledging = true
    await turns()
    expect(model.hintCommands).toEqual([2, 0])
    expect(asked).toBe(0)
  })
})

describe('a page source that is wrong', () => {
  const good: PageSource = { take: () => [], give: () => {} }

  it.each<[string, Partial<PageSource>, RegExp]>([
    ['throws', { take: () => JSON.parse('{') as number[] }, /take: /],
    ['gives a page that has no number', { take: () => [1.5] }, /page 1\.5/],
    ['gives a page beyond 16 TiB', { take: () => [2 ** 32] }, /page 4294967296/],
    ['gives more than was asked for', { take: () => [1, 2, 3, 4] }, /4 pages, asked for 3/],
  ])('%s: told, and nothing worse', async (_what, wrong, message) => {
    const { model, driver } = await bench({ options: { pages: { ...good, ...wrong }, retryInterval: 10_000 } })
    const told: string[] = []
    driver.on('source-failed', (reason) => told.push(`${reason.code} ${reason.message}`))
    model.target = 3
    await turns()
    expect(told).toEqual([expect.stringMatching(message)])
    expect(told[0]).toMatch(/^balloon\.page-source /)
    expect(driver.actual).toBe(0)
  })

  it('gives free memory that is no pages: told, and given back', async () => {
    const ranges = [{ address: 4096, length: 100 }] as unknown as ReturnType<NonNullable<PageSource['takeFree']>>
    const back: unknown[] = []
    const pages = { ...good, takeFree: () => ranges, giveFree: (given: unknown) => back.push(given) }
    const { driver } = await bench({ options: { pages } })
    const told: string[] = []
    driver.on('source-failed', ({ code }) => told.push(code))
    expect(await driver.report()).toBe(0)
    expect(told).toEqual(['balloon.page-source'])
    expect(back).toEqual([ranges])
  })

  it.each([
    { poison: 1 },
    { poison: -1 },
    { maxPages: 0.5 },
    { retryInterval: Number.NaN },
    { pages: { ...good, takeFree: () => [] } },
  ])('or options that cannot be, %o, are refused before the device hears of it', async (options) => {
    await expect(BalloonDriver.open(undefined as never, { pages: good, ...options })).rejects.toBeInstanceOf(RangeError)
  })
})

it('works polled', async () => {
  const { model, driver } = await bench({ options: { interrupts: 'none', statistics: () => ({ free: 1 }) } })
  model.target = 500
  while (driver.actual < 500) {
    driver.poll()
    await turns(1)
  }
  model.requestStatistics()
  driver.poll()
  await turns(1)
  expect(model.hasStatistics).toBe(true)
})
