// @ts-check
/** Bytes of a request. */
export const BLOCK = 4096
/** Blocks of the image: small enough to stay in memory, so that no disk of this machine is measured. */
export const BLOCKS = 65536
/** From one request to the next, in blocks, beginning again at the image's end: each block once, neighbours far apart. */
export const STEP = 40503

/**
 * `depth`: requests that are with the device at a time; `count`: requests in all.
 * @typedef {{ operation: 'read' | 'write', depth: number, count: number }} Case
 */

/** Requests a second, and microseconds that one takes. @typedef {{ rate: number, median: number, p99: number }} Result */

/** Byte at which a request begins. @param {number} n */
export const offsetOf = (n) => ((n * STEP) % BLOCKS) * BLOCK
