// @ts-check
import { median } from '../report.mjs'

/**
 * Rows for one figure: each case against each peer, by the ratios within a round.
 * @param {{ name: string, unit: string }} figure
 * @param {ReadonlyMap<string, readonly number[]>} results of each case, one for each round
 * @param {readonly string[]} peers
 * @returns {import('../report.mjs').Row[]}
 */
export function compareCases(figure, results, peers) {
  const present = peers.filter((peer) => results.has(peer))
  return [...results]
    .filter(([name]) => !peers.includes(name))
    .flatMap(([name, ours]) =>
      present.map((peer) => {
        const theirs = results.get(peer) ?? []
        return {
          case: `${figure.name}, ${name} against ${peer}`,
          ours: median(ours),
          peer: median(theirs),
          ratio: median(ours.map((value, round) => value / (theirs[round] ?? Number.NaN))),
          unit: figure.unit,
          n: ours.length,
        }
      }),
    )
}

/**
 * The order of a round: every second one the other way round, so that a machine that gets slower or faster favours nobody.
 * @template T @param {readonly T[]} all @param {number} round @returns {readonly T[]}
 */
export function orderOf(all, round) {
  return round % 2 === 0 ? all : [...all].reverse()
}
