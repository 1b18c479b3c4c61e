// @ts-check
// Ours and the peer in turn, in the same state of the machine, until there are rounds enough.
import { median } from '../report.mjs'
import { distance } from './cores.mjs'

/** @typedef {import('./windows.mjs').Run} Run */
/** @typedef {import('../report.mjs').Row} Row */

/**
 * A pair counts when both runs had undisturbed windows and the cores were equally far apart before, between and after. Pairs with near
 * cores make the row; far ones only where there are no near ones, and then it says so.
 * @param {string} name
 * @param {{ rounds: number, attempts: number }} effort pairs wanted, and made at most
 * @param {() => Promise<Run | undefined>} ours @param {() => Promise<Run | undefined>} peer
 * @returns {Promise<{ rate: Row, empty: Row } | undefined>} undefined when every pair was disturbed
 */
export async function compare(name, { rounds, attempts }, ours, peer) {
  /** @type {Record<'near' | 'far', { ours: Run, peer: Run }[]>} */ const pairs = { near: [], far: [] }
  let before = await distance()
  for (let i = 0; i < attempts && pairs.near.length < rounds; i++) {
    const a = await ours()
    const between = await distance()
    const b = await peer()
    const after = await distance()
    if (a && b && before === between && between === after) pairs[after].push({ ours: a, peer: b })
    before = after
  }
  const where = pairs.near.length > 0 ? 'near' : 'far'
  const kept = pairs[where]
  if (kept.length === 0) return undefined
  const label = where === 'near' ? name : `${name} (cores far apart)`
  const rates = {
    ours: median(kept.map((pair) => pair.ours.rate)) / 1e6,
    peer: median(kept.map((pair) => pair.peer.rate)) / 1e6,
    ratio: median(kept.map((pair) => pair.ours.rate / pair.peer.rate)),
  }
  const empty = {
    ours: median(kept.map((pair) => pair.ours.empty)),
    peer: median(kept.map((pair) => pair.peer.empty)),
    ratio: Number.NaN,
  }
  return {
    rate: { case: label, ...rates, unit: 'Mpps', n: kept.length },
    empty: { case: `${label}, empty polls`, ...empty, unit: 'share', n: kept.length },
  }
}

/** What there is to say where no pair could be kept. @param {string} name @returns {Row} */
export function disturbed(name) {
  const none = { ours: Number.NaN, peer: Number.NaN, ratio: Number.NaN }
  return { case: `${name} (every window was disturbed: something else uses this machine)`, ...none, unit: 'Mpps', n: 0 }
}
