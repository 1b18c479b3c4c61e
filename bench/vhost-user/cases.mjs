// @ts-check
/**
 * One thing to measure.
 * @typedef {'transmit' | 'receive' | 'roundTrip'} Mode
 * @typedef {{ ring: 'split' | 'packed', mode: Mode, length: number, queues: number, size: number, batch: number }} Case
 */

/** @type {Record<Mode, string>} */
export const modeNames = { transmit: 'transmit', receive: 'receive', roundTrip: 'round trip' }

/** @param {Case} test */
export function nameOf({ ring, mode, length, queues }) {
  return `${ring} ${modeNames[mode]}, ${length} B${queues > 1 ? `, ${queues} queue pairs` : ''}`
}

/**
 * The fastest way DPDK's driver has: on a split ring its vector path for receive, which excludes IN_ORDER, and IN_ORDER for the rest;
 * on a packed ring AVX-512, which needs IN_ORDER.
 * @param {Case} test @returns {{ vectorized: boolean, inOrder: boolean, ealArguments: string[] }}
 */
export function fastestVariant({ ring, mode }) {
  if (ring === 'packed') return { vectorized: true, inOrder: true, ealArguments: ['--force-max-simd-bitwidth=512'] }
  const receive = mode === 'receive'
  return { vectorized: receive, inOrder: !receive, ealArguments: [] }
}
