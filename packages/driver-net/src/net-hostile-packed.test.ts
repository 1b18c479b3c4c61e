import { hostile, type HostileKind } from '@virtio-ts/device-models'
import { describe, expect, it } from 'vitest'
import { openModelBench } from '../test-support/net-bench.ts'

describe('NetDriver against a hostile device with packed rings', () => {
  it.each<[HostileKind, string]>([
    ['num-buffers-0', 'net.num-buffers'],
    ['id-range', 'ring.id-range'],
    ['not-head', 'ring.not-head'],
    ['duplicate', 'ring.not-head'],
    ['length-over', 'ring.length'],
  ])('%s ends it, and is told once', async (kind, code) => {
    const profile = hostile({ kind, queue: 0, after: 1 })
    // Fewer than the ring holds: with every id in use any would be one of a buffer.
    const { model, fn, driver, received, frame, turns } = await openModelBench({
      profile,
      on: { ringFeatures: { RING_PACKED: true } },
      options: { receiveBuffers: 8, watchdog: 0 },
    })
    expect(driver.features.has('RING_PACKED')).toBe(true)
    const told: string[] = []
    driver.on('fault', (reason) => told.push((reason as { code?: string }).code ?? ''))
    const good = frame()
    model.deliver(good)
    await turns()
    for (let i = 0; i < 2; i++) {
      model.deliver(frame(200))
      await turns()
    }
    expect([told, profile.done > 0]).toEqual([[code], true])
    expect(received[0]).toEqual(good)
    await driver.close()
    expect(fn.dma.stats.allocatedBytes).toBe(0)
    await fn.close()
  })

  it('a buffer that holds less than a header is dropped, and the next one comes', async () => {
    const profile = hostile({ kind: 'length-under', queue: 0, value: 0 })
    const { model, driver, received, frame, turns } = await openModelBench({
      profile,
      on: { ringFeatures: { RING_PACKED: true } },
      options: { watchdog: 0 },
    })
    model.deliver(frame())
    model.deliver(frame(300))
    await turns()
    expect([received.length, driver.stats()['rx_dropped_header_short']]).toEqual([1, 1])
    await driver.close()
  })
})
