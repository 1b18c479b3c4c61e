// @ts-check
// What one run brought: windows, of which those count in which both threads had their cores.
import { median } from '../report.mjs'

/**
 * One window: what happened, and for how long (milliseconds) it lasted and each side's thread ran.
 * @typedef {{ packets: number, elapsed: number, polls: number, empty: number, driverRan: number, deviceRan: number }} Window
 */

/** @typedef {{ rate: number, empty: number, windows: number }} Run packets a second, share of polls that found nothing, windows kept */

const UNDISTURBED = 0.93

/** @param {readonly Window[]} windows @param {number} least windows that must be kept @returns {Run | undefined} */
export function summarize(windows, least) {
  const kept = windows.filter(
    ({ elapsed, driverRan, deviceRan }) => Math.min(driverRan, deviceRan) >= UNDISTURBED * elapsed,
  )
  if (kept.length < least) return undefined
  return {
    rate: median(kept.map(({ packets, elapsed }) => (packets / elapsed) * 1000)),
    empty: median(kept.map(({ polls, empty }) => empty / polls)),
    windows: kept.length,
  }
}
