// @ts-check
import { median } from '../report.mjs'

/** @typedef {import('./cases.mjs').Result} Result */

/**
 * Three rows: requests a second, and how long one takes. Ratios are those within a round.
 * @param {string} name @param {readonly Result[]} ours @param {readonly Result[]} peer one for each round
 * @returns {import('../report.mjs').Row[]}
 */
export function compareResults(name, ours, peer) {
  /** @param {string} label @param {string} unit @param {keyof Result} key */
  const row = (label, unit, key) => ({
    case: label,
    ours: median(ours.map((result) => result[key])),
    peer: median(peer.map((result) => result[key])),
    ratio: median(ours.map((result, round) => result[key] / (peer[round]?.[key] ?? Number.NaN))),
    unit,
    n: ours.length,
  })
  return [row(name, 'requests/s', 'rate'), row(`${name}: median`, 'µs', 'median'), row(`${name}: 99 %`, 'µs', 'p99')]
}
