import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BalloonLimits, CALM, decide, initialState, type Observation, type PolicyState } from './decide.ts'

const limits: BalloonLimits = { min: 100, max: 1000, step: 200, reserve: 40_960_000, high: 10, low: 1 }
const seen: Observation = { target: 800, actual: 0, mayDeflate: true, pressure: 0, available: undefined }
const pressed: PolicyState = { pressed: true, calm: 0 }

/** The limits that follow from a sequence of observations, each with the balloon where the limit before has put it. */
function follow(observations: readonly Partial<Observation>[], from: Partial<Observation> = {}): number[] {
  let state = initialState
  let actual = from.actual ?? 0
  return observations.map((one) => {
    const decision = decide(state, { ...seen, ...from, ...one, actual }, limits)
    state = decision.state
    actual = decision.limit
    return actual
  })
}

describe('decide', () => {
  it('grows step by step towards what the device wants, and not beyond max', () => {
    expect(follow([{}, {}, {}, {}, {}])).toEqual([200, 400, 600, 800, 800])
    expect(follow(Array(7).fill({ target: 5000 }))).toEqual([200, 400, 600, 800, 1000, 1000, 1000])
  })

  it('what the device does not want goes back at once', () => {
    expect(follow([{ target: 10 }], { actual: 900 })).toEqual([10])
    expect(follow([{ target: 10, pressure: 50 }], { actual: 900 })).toEqual([10])
  })

  it('under pressure shrinks step by step, not below min', () => {
    expect(follow(Array(6).fill({ pressure: 10 }), { actual: 800 })).toEqual([600, 400, 200, 100, 100, 100])
    // What is below min already stays.
    expect(follow([{ pressure: 99 }], { actual: 30 })).toEqual([30])
  })

  it('without DEFLATE_ON_OOM it only stops growing', () => {
    expect(follow([{ pressure: 50 }, { pressure: 50 }], { actual: 400, mayDeflate: false })).toEqual([400, 400])
  })

  it('between low and high it does what it did: nothing is added, and what was under pressure still is', () => {
    expect(follow([{ pressure: 5 }, { pressure: 9.99 }], { actual: 400 })).toEqual([400, 400])
    expect(follow([{ pressure: 10 }, { pressure: 1.01 }, { pressure: 9 }], { actual: 800 })).toEqual([600, 400, 200])
  })

  it('grows again only after some calm', () => {
    const calm = Array(CALM + 1).fill({ pressure: 1 })
    expect(follow([{ pressure: 10 }, ...calm], { actual: 800 })).toEqual([600, 600, 600, 600, 600, 800, 800])
    // Any tension begins the waiting anew.
    expect(follow([{ pressure: 10 }, ...calm.slice(0, 4), { pressure: 2 }, ...calm], { actual: 800 })).toEqual([
      600, 600, 600, 600, 600, 600, 600, 600, 600, 600, 800, 800,
    ])
  })

  it('leaves the reserve alone, and gives back what is missing to it', () => {
    const { reserve } = limits
    const room = (pages: number): number => reserve * 1.25 + pages * 4096
    expect(follow([{ available: room(50) }, { available: room(0) }])).toEqual([50, 50])
    expect(follow([{ available: reserve - 1 }, { available: reserve }], { actual: 800 })).toEqual([600, 400])
    expect(follow([{ available: reserve - 1 }, { available: reserve * 1.25 }], { actual: 800 })).toEqual([600, 600])
  })

  it('without knowledge of pressure and memory it follows the device', () => {
    expect(follow([{ pressure: undefined }, { pressure: undefined }])).toEqual([200, 400])
  })

  const anyLimits = fc
    .record({
      min: fc.nat(2000),
      max: fc.nat(2000),
      step: fc.integer({ min: 1, max: 500 }),
      reserve: fc.nat(1e8),
      low: fc.nat(50),
      high: fc.nat(50),
    })
    .map((one) => ({ ...one, high: one.low + one.high + 0.01 }))
  const anySeen = fc.record({
    target: fc.nat(3000),
    actual: fc.nat(3000),
    mayDeflate: fc.boolean(),
    pressure: fc.option(fc.double({ min: 0, max: 100, noNaN: true }), { nil: undefined }),
    available: fc.option(fc.nat(2e8), { nil: undefined }),
  })
  const anyState = fc.record({ pressed: fc.boolean(), calm: fc.nat(CALM) })

  it('whatever happens, it stays within its limits', () => {
    fc.assert(
      fc.property(anyState, anySeen, anyLimits, (state, now, allowed) => {
        const { limit, state: next } = decide(state, now, allowed)
        const { target, actual, mayDeflate } = now
        const wanted = Math.min(target, allowed.max)
        expect(Number.isInteger(limit)).toBe(true)
        expect(limit).toBeGreaterThanOrEqual(0)
        expect(limit).toBeLessThanOrEqual(wanted)
        // A bounded step up; down, beyond what nobody wants, a bounded step too, and not below min.
        expect(limit).toBeLessThanOrEqual(actual + allowed.step)
        const keep = Math.min(actual, wanted)
        expect(limit).toBeGreaterThanOrEqual(Math.min(keep, actual - allowed.step))
        expect(limit).toBeGreaterThanOrEqual(Math.min(keep, allowed.min))
        if (!mayDeflate || !next.pressed) expect(limit).toBeGreaterThanOrEqual(keep)
        // Growing takes calm, and room beyond the reserve.
        if (limit > actual) {
          expect(next).toEqual({ pressed: false, calm: CALM })
          if (now.available !== undefined)
            expect(now.available - (limit - actual) * 4096).toBeGreaterThanOrEqual(allowed.reserve)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('goes where the device wants it, when nothing is in the way, and stays there', () => {
    fc.assert(
      fc.property(anyLimits, fc.nat(3000), fc.nat(3000), (allowed, target, start) => {
        let [state, actual] = [pressed, start]
        for (let turn = 0; turn < CALM + 3000; turn++) {
          const decision = decide(state, { ...seen, target, actual }, allowed)
          ;[state, actual] = [decision.state, decision.limit]
        }
        expect(actual).toBe(Math.min(target, allowed.max))
      }),
      { numRuns: 30 },
    )
  })
})
