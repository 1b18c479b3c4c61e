// @ts-check
// The same traffic in one Linux guest: netd against the kernel's drivers, in turns.
import { BenchGuest } from './guest/bench-guest.mjs'
import { cases, peers } from './guest/cases.mjs'
import { compareCases, orderOf } from './guest/compare.mjs'
import { measures } from './guest/measures.mjs'
import { chosen } from './machine/chosen.mjs'

/** What else there is to be said of the machine. @type {string[]} */
export const notes = []

const ROUNDS = 5
const QUICK_ROUNDS = 3
/** Far more than one turn takes. */
const SECONDS_A_TURN = 30

/** @param {import('./bench.mjs').Options} options */
export async function* run({ quick, words }) {
  const wanted = chosen(
    words,
    cases.map(({ name }) => name).filter((name) => !peers.some((peer) => peer === name)),
  )
  const named = peers.filter((peer) => words.includes(peer))
  const against = named.length > 0 ? named : peers
  const all = cases.filter(({ name }) => [...wanted, ...against].includes(name))
  const what = chosen(
    words,
    measures.map(({ word }) => word),
  )
  const rounds = Number(words.find((word) => /^\d+$/.test(word)) ?? (quick ? QUICK_ROUNDS : ROUNDS))
  const parts = measures.filter(({ word }) => what.includes(word))
  const guest = await BenchGuest.boot(all, 120 + rounds * parts.length * all.length * SECONDS_A_TURN)
  try {
    notes.push(await guest.describe())
    for (const measure of parts) {
      const results = measure.figures.map(() => new Map(all.map(({ name }) => [name, /** @type {number[]} */ ([])])))
      for (let round = 0; round < rounds; round++) {
        for (const one of orderOf(all, round)) {
          const figures = await guest.measure(one, measure, quick)
          for (const [i, figure] of figures.entries()) results[i]?.get(one.name)?.push(figure)
        }
      }
      for (const [i, figure] of measure.figures.entries())
        yield* compareCases(figure, /** @type {Map<string, number[]>} */ (results[i]), against)
    }
    await guest.close()
  } finally {
    await guest.kill()
  }
}
