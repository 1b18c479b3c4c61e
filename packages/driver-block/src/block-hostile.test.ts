import { dying, type HostileKind, hostile } from '@virtio-ts/device-models'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type BlockBench, type BlockBenchOptions, openBlockBench, pattern, turns } from '../test-support/block-bench.ts'
import type { BlockEvents, BlockOptions } from './index.ts'

const benches: BlockBench[] = []

async function bench(options: BlockBenchOptions = {}): Promise<BlockBench> {
  const opened = await openBlockBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { disk, fn } of benches.splice(0)) {
    await disk.close().catch(() => {})
    expect(fn.dma.stats.allocatedBytes).toBe(0)
    await fn.close()
  }
})

const modes: readonly (readonly [string, BlockOptions, boolean])[] = [
  ['notified', {}, false],
  ['polled', { interrupts: 'none' }, false],
  ['packed', {}, true],
]

for (const [mode, options, packed] of modes) {
  const on = { ringFeatures: { RING_PACKED: packed } }

  describe(`answers of a hostile device, ${mode}`, () => {
    it.each<[HostileKind, number | undefined, string]>([
      ['status-garbage', undefined, 'block.bad-status'],
      ['status-garbage', 255, 'block.bad-status'],
      // A zoned device's status on one that is none.
      ['status-garbage', 3, 'block.bad-status'],
      ['status-garbage', 6, 'block.bad-status'],
      ['status-garbage', 2, 'block.unsupported'],
      ['status-missing', undefined, 'block.bad-status'],
      ['io-error', undefined, 'block.io-error'],
      ['answer-short', 0, 'block.short-answer'],
      ['answer-short', 1, 'block.short-answer'],
      ['answer-short', 512, 'block.short-answer'],
      ['length-under', undefined, 'block.short-answer'],
    ])('%s %s fails one request and no other', async (kind, value, code) => {
      const profile = hostile({ kind, after: 1, ...(value !== undefined && { value }) } as never)
      const { disk } = await bench({ profile, options, on })
      const fault = vi.fn<BlockEvents['fault']>()
      disk.on('fault', fault)
      await disk.write(0, pattern(512))
      await expect(disk.read(0, 512)).rejects.toMatchObject({ code, details: { queue: 0 } })
      expect(profile.done).toBe(1)
      expect(await disk.read(0, 512)).toEqual(pattern(512))
      expect(disk.stats()).toMatchObject({ held: 0, failed: 1 })
      expect(fault).not.toHaveBeenCalled()
    })

    it('a failed read leaves the array of the caller as it was', async () => {
      const { disk } = await bench({ profile: hostile({ kind: 'io-error' }), options, on })
      const into = pattern(1024)
      await expect(disk.read(0, into)).rejects.toMatchObject({ code: 'block.io-error' })
      expect(into).toEqual(pattern(1024))
    })

    // A packed ring has no index to run ahead: there the second copy is a buffer that comes later.
    const kinds: readonly HostileKind[] = [
      'id-range',
      'not-head',
      'length-over',
      ...(packed ? [] : ['duplicate' as const]),
    ]
    it.each(kinds)('%s ends it: every request settles, the fault is told once', async (kind) => {
      const profile = hostile({ kind, after: 3 } as never)
      const { disk } = await bench({ profile, options, on: { ...on, execution: 'deferred' } })
      const fault = vi.fn<BlockEvents['fault']>()
      disk.on('fault', fault)
      const settled: string[] = []
      for (let round = 0; round < 6; round++) {
        const work = Array.from({ length: 10 }, (_, n) => disk.read(n * 512, 512))
        for (const one of await Promise.allSettled(work)) {
          settled.push(one.status === 'fulfilled' ? 'ok' : one.reason.code)
        }
      }
      expect(settled.length).toBe(60)
      expect(fault.mock.calls[0]?.[0].code).toMatch(/^ring\./)
      expect(fault).toHaveBeenCalledTimes(1)
      expect(new Set(settled)).toEqual(new Set(['ok', fault.mock.calls[0]?.[0].code]))
      await expect(disk.flush()).rejects.toHaveProperty('code')
    })
  })

  describe(`a device that fails, ${mode}`, () => {
    it('asks for a reset with requests in flight', async () => {
      const { disk, fn, model } = await bench({ options: { ...options, watchdog: 10, maxInFlight: 16 }, on })
      const code = new Promise((resolve) => disk.on('fault', (reason) => resolve(reason.code)))
      model.hold()
      const work = Array.from({ length: 20 }, (_, n) => disk.read(n * 512, 512))
      const outcomes = Promise.allSettled(work)
      await turns()
      fn.core.needsReset('of this test')
      expect(await code).toBe('device.needs-reset')
      const codes = (await outcomes).map((one) => (one as PromiseRejectedResult).reason.code)
      expect(codes).toEqual(new Array(20).fill('device.needs-reset'))
      await disk.close()
      expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    })

    it('is pulled out with requests held, waiting and not yet made', async () => {
      const { disk, fn, model } = await bench({ options: { ...options, maxInFlight: 4 }, on })
      model.hold()
      const settled = vi.fn<() => void>()
      const work = Array.from({ length: 30 }, (_, n) => disk.read(n * 512, 512).finally(settled))
      await turns()
      fn.unplug()
      const codes = (await Promise.allSettled(work)).map((one) => (one as PromiseRejectedResult).reason.code)
      expect(codes).toEqual(new Array(30).fill('device.gone'))
      expect(settled).toHaveBeenCalledTimes(30)
      await expect(disk.read(0, 512)).rejects.toMatchObject({ code: 'device.gone' })
      await disk.close()
      expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    })
  })
}

describe('a device that does not come back', () => {
  it('does not confirm its reset: its memory is never used again, and buffers are not given back', async () => {
    const { disk, fn, model } = await bench({
      profile: hostile({ kind: 'reset-never', after: 1 }),
      attach: { resetTimeout: 20 },
    })
    const region = disk.allocate(512)
    const onReleased = vi.fn<() => void>()
    model.hold()
    const read = disk.readInto(0, region, { onReleased })
    await turns()
    const { allocatedBytes } = fn.dma.stats
    const ended = Promise.allSettled([read])
    await expect(disk.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    expect(await ended).toMatchObject([{ status: 'rejected', reason: { code: 'device.closed' } }])
    expect(onReleased).not.toHaveBeenCalled()
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: allocatedBytes })
  })

  it('never answers: callers give up, memory stays where it is, and is bounded', async () => {
    const { disk, fn } = await bench({
      profile: hostile({ kind: 'never-complete' }),
      options: { maxInFlight: 8, stagingMemory: 65536 },
    })
    for (let round = 0; round < 20; round++) {
      const abort = new AbortController()
      const work = Array.from({ length: 50 }, () => disk.read(0, 16384, { signal: abort.signal }))
      await turns(1)
      abort.abort(new Error('no answer'))
      for (const one of await Promise.allSettled(work)) expect(one).toMatchObject({ status: 'rejected' })
    }
    expect(disk.stats()).toMatchObject({ held: 4, waiting: 0 })
    expect(fn.dma.stats.allocatedBytes).toBeLessThan(200_000)
  })

  it('dies at any moment of opening and working: a code, and every byte back', async () => {
    let opened = false
    for (let after = 0; !opened && after < 2000; after += after < 40 ? 1 : 5) {
      const outcome = await openBlockBench({ profile: dying({ after }) }).then(
        async ({ disk, fn }) => {
          await disk.close().catch(() => {})
          return fn.dma.stats
        },
        (error) => error.code,
      )
      opened = typeof outcome === 'object'
      if (opened) expect(outcome).toMatchObject({ allocatedBytes: 0 })
      else expect(outcome).toMatch(/^[a-z]+\.[a-z-]+$/)
    }
    expect(opened).toBe(true)
  })

  it('makes notifications that get lost cost no more than a look of the watchdog', async () => {
    for (const kind of ['interrupt-lost', 'deaf'] as const) {
      const profile = hostile(kind === 'deaf' ? { kind, times: 2 } : { kind })
      const { disk } = await bench({ profile, options: { watchdog: 10 } })
      await disk.write(0, pattern(512))
      expect(await disk.read(0, 512)).toEqual(pattern(512))
      expect(disk.stats()[kind === 'deaf' ? 'notified_again' : 'missed_notifications']).toBeGreaterThan(0)
    }
  })
})
