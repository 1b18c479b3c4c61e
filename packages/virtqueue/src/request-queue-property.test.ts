import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { requestBench, reset, turn } from './testing/request-bench.ts'

const runs = Number(process.env['FUZZ_RUNS'] ?? 400) / 4

type Step =
  | { readonly do: 'request'; readonly buffers: number }
  | { readonly do: 'abort' | 'use'; readonly pick: number }
  | { readonly do: 'bad id'; readonly id: number }
  | { readonly do: 'service' | 'turn' | 'reset' }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 30,
    arbitrary: fc.record({ do: fc.constant('request' as const), buffers: fc.integer({ min: 1, max: 3 }) }),
  },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('abort' as const), pick: fc.nat(30) }) },
  { weight: 30, arbitrary: fc.record({ do: fc.constant('use' as const), pick: fc.nat(30) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('bad id' as const), id: fc.constantFrom(0, 1, 4, 0x10000, 0xffffffff) }),
  },
  { weight: 15, arbitrary: fc.record({ do: fc.constantFrom('service' as const, 'turn' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reset' as const) }) },
)

interface Tracked {
  readonly controller: AbortController
  readonly written: number
  outcome: string | undefined
  released: number
  /** Where the device stands: it has not seen the chain, holds it, or has used it. */
  state: 'unseen' | 'held' | 'used'
}

describe('RequestQueue', () => {
  it('D4: D21: D23: D24: every promise settles once, every buffer is released once, and never while the device holds it', async () => {
    const outcomes = new Map<string, number>()
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(1, 2, 4, 8),
        fc.boolean(),
        fc.array(step, { minLength: 40, maxLength: 150, size: 'max' }),
        async (size, indirect, steps) => {
          const bench = requestBench({ size, indirect, memoryLength: 1 << 16 }, { backlog: 5 })
          const { requests, queue, device, region } = bench
          const all: Tracked[] = []
          /** By id, what the device holds. */
          const held = new Map<number, Tracked>()

          const take = () => {
            for (const { id, buffers } of device.take()) {
              const tracked = all[buffers[0]!.address - region.deviceAddress]!
              tracked.state = 'held'
              held.set(id, tracked)
            }
          }
          const restart = () => {
            queue.reset()
            for (const tracked of held.values()) tracked.state = 'used'
            held.clear()
            requests.reset(reset)
            device.held.clear()
            device.nextAvailable = 0
            device.usedIndex = 0
          }
          const run = async (current: Step) => {
            switch (current.do) {
              case 'request': {
                if (current.buffers > size) return
                const offset = all.length
                const tracked: Tracked = {
                  controller: new AbortController(),
                  written: offset % 2,
                  outcome: undefined,
                  released: 0,
                  state: 'unseen',
                }
                all.push(tracked)
                const promise = requests.request(
                  { writable: Array.from({ length: current.buffers }, () => ({ region, offset, length: 1 })) },
                  {
                    signal: tracked.controller.signal,
                    onReleased: () => {
                      if (tracked.state === 'held') tracked.outcome = 'released while the device held it'
                      tracked.released++
                    },
                  },
                )
                const settle = (outcome: string) => {
                  tracked.outcome = tracked.outcome === undefined ? outcome : `${tracked.outcome} and ${outcome}`
                }
                promise.then(
                  (written) => settle(written === tracked.written ? 'resolved' : `resolved with ${written}`),
                  (reason: unknown) => settle((reason as { code?: string }).code ?? 'aborted'),
                )
                return
              }
              case 'abort':
                return all[current.pick % all.length]?.controller.abort(new Error('aborted'))
              case 'use': {
                take()
                const id = [...held.keys()][current.pick % held.size]
                if (id === undefined) return
                const tracked = held.get(id)!
                held.delete(id)
                tracked.state = 'used'
                return device.putUsed(id, tracked.written)
              }
              case 'bad id':
                // Read at once, as it could pass for legal later, when a chain begins there.
                await turn()
                take()
                if (held.has(current.id)) return
                device.putUsed(current.id, 0)
                requests.service()
                expect(queue.broken).toBeDefined()
                return
              case 'service':
                requests.service()
                return
              case 'turn':
                return turn()
              case 'reset':
                return restart()
            }
          }
          for (const current of steps) {
            await run(current)
            expect(requests.pending).toBeLessThanOrEqual(size + 5)
            if (queue.broken === undefined || requests.pending > 0) continue
            restart()
          }
          await turn()
          restart()
          await turn()
          expect(requests.pending).toBe(0)
          const legal = [
            'resolved',
            'aborted',
            'device.reset',
            'request.backlog-full',
            'ring.id-range',
            'ring.not-head',
            'ring.idx-jump',
          ]
          for (const { outcome, released } of all) {
            expect(legal).toContain(outcome)
            expect(released).toBe(1)
            outcomes.set(outcome!, (outcomes.get(outcome!) ?? 0) + 1)
          }
        },
      ),
      { numRuns: runs },
    )
    expect([...outcomes.keys()]).toEqual(
      expect.arrayContaining(['resolved', 'aborted', 'device.reset', 'request.backlog-full']),
    )
    expect(outcomes.get('resolved')).toBeGreaterThan(runs * 2)
  })
})
