// @ts-check
// Requests of driver-block, as many as asked for at a time: each is sent when the one before it in its lane has come back.
import { BLOCK, offsetOf } from './cases.mjs'

/** @typedef {import('@virtio-ts/driver-block').BlockDriver} BlockDriver */
/** @typedef {import('./cases.mjs').Case} Case */

/** @param {BlockDriver} disk @param {Case} test @returns {Promise<import('./cases.mjs').Result>} */
export async function measure(disk, test) {
  const region = disk.allocate(test.depth * BLOCK)
  await lanes(disk, region, { ...test, count: Math.ceil(test.count / 5) })
  const took = await lanes(disk, region, test)
  took.latencies.sort()
  const at = (/** @type {number} */ share) => (took.latencies[Math.floor(test.count * share)] ?? Number.NaN) * 1000
  return { rate: test.count / took.seconds, median: at(0.5), p99: at(0.99) }
}

/** @param {BlockDriver} disk @param {import('@virtio-ts/memory').DmaRegion} region @param {Case} test */
async function lanes(disk, region, { operation, depth, count }) {
  const latencies = new Float64Array(count)
  let next = 0
  const lane = async (/** @type {number} */ index) => {
    const buffer = { region, offset: index * BLOCK, length: BLOCK }
    while (next < count) {
      const n = next++
      const sent = performance.now()
      if (operation === 'read') await disk.readInto(offsetOf(n), buffer)
      else await disk.writeFrom(offsetOf(n), buffer)
      latencies[n] = performance.now() - sent
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: depth }, (_, index) => lane(index)))
  return { seconds: (performance.now() - start) / 1000, latencies }
}
