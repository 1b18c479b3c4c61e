import { dying, type HostileKind, type HostileScript, hostile, modelFunction, RngModel } from '@virtio-ts/device-models'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, describe, expect, it } from 'vitest'
import { type BalloonBench, type BalloonBenchOptions, openBalloonBench, turns } from '../test-support/balloon-bench.ts'
import { BalloonDriver } from './index.ts'

const benches: BalloonBench[] = []

async function bench(options: BalloonBenchOptions = {}): Promise<BalloonBench> {
  const opened = await openBalloonBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { driver, fn, source } of benches.splice(0)) {
    await driver.close().catch(() => {})
    source.release()
    expect(source.taken).toBe(0)
    expect(fn.dma.stats.allocatedBytes).toBe(0)
    await fn.close()
  }
})

const fault = ({ driver }: BalloonBench): Promise<string> =>
  new Promise((resolve) => driver.on('fault', ({ code }) => resolve(code)))

describe('a hostile balloon ends in a coded fault, and every page comes home', () => {
  it.each<[HostileKind, number, string]>([
    ['id-range', 0, 'ring.id-range'],
    ['id-alias', 0, 'ring.id-range'],
    ['not-head', 0, 'ring.not-head'],
    ['duplicate', 0, 'ring.idx-jump'],
    ['idx-jump', 0, 'ring.idx-jump'],
    ['id-range', 2, 'ring.id-range'],
    ['length-over', 4, 'ring.length'],
  ])('%s on queue %i', async (kind, queue, code) => {
    const script = { kind, queue } as HostileScript<HostileKind>
    const opened = await bench({
      profile: hostile(script),
      source: { free: 65536 },
      options: { statistics: () => ({ free: 1 }) },
    })
    const failed = fault(opened)
    opened.model.target = 100
    opened.model.requestStatistics()
    void opened.driver.report().catch(() => {})
    expect(await failed).toMatch(code)
    await expect(opened.driver.release(1)).rejects.toMatchObject({ isVirtioError: true })
    await opened.driver.close()
    expect(opened.source.taken).toBe(0)
    expect(opened.fn.dma.stats.quarantinedBytes).toBe(0)
  })

  it('NEEDS_RESET', async () => {
    const opened = await bench({ profile: hostile({ kind: 'needs-reset', queue: 0 }) })
    const failed = fault(opened)
    opened.model.target = 1
    expect(await failed).toBe('device.needs-reset')
  })

  it('a device that is gone', async () => {
    const opened = await bench({ profile: dying({ after: 1, from: 'used' }) })
    const failed = fault(opened)
    opened.model.target = 100
    expect(await failed).toBe('device.gone')
    await opened.driver.close()
    expect(opened.source.taken).toBe(0)
  })
})

describe('a balloon that', () => {
  it('does not confirm its reset has its pages set aside for good', async () => {
    const profile = hostile({ kind: 'reset-never', after: 1 })
    const opened = await bench({ profile, attach: { resetTimeout: 20 }, options: { closeTimeout: 20 } })
    opened.model.target = 10
    await turns()
    opened.model.acknowledging = false
    await expect(opened.driver.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    expect(opened.source.taken).toBe(0)
    expect(opened.fn.dma.stats.quarantinedBytes).toBeGreaterThanOrEqual(10 * 4096)
  })

  it('changes its mind for ever leaves others their turn', async () => {
    const opened = await bench()
    let changes = 0
    opened.driver.on('actual', () => {
      changes++
      opened.model.target = opened.model.target === 0 ? 300 : 0
    })
    opened.model.target = 300
    await turns(200)
    expect(changes).toBeGreaterThan(10)
    await opened.driver.close()
  })

  it('wants more than there is in the world gets what there is', async () => {
    const opened = await bench({ source: { limit: 50 } })
    opened.model.target = 0xffffffff
    await turns()
    expect(opened.driver.actual).toBe(50)
  })

  it('loses its notifications is looked after all the same', async () => {
    const opened = await bench({ profile: hostile({ kind: 'interrupt-lost' }), options: { watchdog: 1 } })
    opened.model.target = 600
    while (opened.driver.actual < 600) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(opened.model.actual).toBe(600)
  })

  it('gives new commands all the time gets one round after the other', async () => {
    const opened = await bench({ source: { free: 65536, rangeLength: 4096 } })
    for (let command = 2; command < 50; command++) {
      opened.model.hint(command)
      await turns(1)
    }
    opened.model.hint(1)
    await turns()
    const { hintCommands } = opened.model
    expect(hintCommands.at(-1)).toBe(0)
    expect(hintCommands.filter((_, index) => index % 2 === 1).every((command) => command === 0)).toBe(true)
  })

  it('is no balloon is refused', async () => {
    const fn = modelFunction(new RngModel())
    const transport = await VirtioPciDriver.attach(fn)
    const pages = { take: () => [], give: () => {} }
    await expect(BalloonDriver.open(transport, { pages })).rejects.toMatchObject({ code: 'device.wrong-type' })
    await fn.close()
  })
})
