// @ts-check
// A disk through driver-block: 4 KiB requests all over an image that is in memory. Peers: QEMU's own block layer on the same image, and, where the
// disk is one that does nothing, a ring that is refilled without a driver; in a Linux guest, the kernel's driver.
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { inFile, nothing, onQemu, onStorageDaemon, overVhostUser } from './block/back-ends.mjs'
import { measureBareRing } from './block/bare-ring.mjs'
import { BLOCK, BLOCKS } from './block/cases.mjs'
import { compareInGuest } from './block/in-guest.mjs'
import { measure } from './block/ours.mjs'
import { measureQemuImg } from './block/qemu-img.mjs'
import { chosen } from './machine/chosen.mjs'
import { needTwoCores, pinToDriverCpu } from './machine/cores.mjs'
import { temporaryFolder } from './machine/temporary-folder.mjs'
import { alternate, median } from './report.mjs'

/** @typedef {import('./block/cases.mjs').Case} Case */
/** @typedef {import('./block/cases.mjs').Result} Result */

/** What else there is to be said of the machine. @type {string[]} */
export const notes = []

const back = /** @type {const} */ (['daemon', 'qemu', 'guest', 'null'])
const names = { daemon: 'qemu-storage-daemon', qemu: 'QEMU', null: 'null, polled' }
/** @typedef {keyof typeof names} Where */

/** @param {import('./bench.mjs').Options} options */
export async function* run({ quick, words }) {
  needTwoCores()
  const image = makeImage('image')
  const operations = chosen(words, /** @type {const} */ (['read', 'write']))
  const depths = chosen(words, /** @type {const} */ (['1', '4', '32', '128']))
  for (const where of chosen(words, back)) {
    if (where === 'guest') {
      const tests = operations.flatMap((operation) => depths.map((depth) => ({ operation, depth: Number(depth) })))
      yield* compareInGuest(tests, { kernel: image, ours: makeImage('second-image') }, quick, notes)
      continue
    }
    // The last one: QEMU's own programs would be bound with this one.
    if (where === 'null') pinToDriverCpu()
    for (const operation of operations) {
      for (const depth of depths) {
        yield* compare(where, { operation, depth: Number(depth), count: countOf(where, depth, quick) }, image, quick)
      }
    }
  }
}

/** About a second's worth. @param {Where} where @param {string} depth @param {boolean} quick */
function countOf(where, depth, quick) {
  if (quick) return 2000
  if (where === 'null') return depth === '1' ? 50_000 : 300_000
  return depth === '1' ? 15_000 : 60_000
}

/** @param {Where} where @param {Case} test @param {string} image @param {boolean} quick */
async function* compare(where, test, image, quick) {
  const name = `${names[where]}, ${test.operation}, depth ${test.depth}`
  /** @type {Result[]} */ const results = []
  const ours = async () => {
    const result = await measureOurs(where, test, image)
    results.push(result)
    return result.rate
  }
  const peer = () =>
    where === 'null' ? onStorageDaemon(nothing, (path) => measureBareRing(path, test)) : measureQemuImg(image, test)
  yield await alternate(name, 'requests/s', quick ? 1 : 5, ours, peer)
  const none = { peer: Number.NaN, ratio: Number.NaN, unit: 'µs', n: results.length }
  yield { case: `${name}: median`, ours: median(results.map((result) => result.median)), ...none }
  yield { case: `${name}: 99 %`, ours: median(results.map((result) => result.p99)), ...none }
}

/** @param {Where} where @param {Case} test @param {string} image @returns {Promise<Result>} */
function measureOurs(where, test, image) {
  if (where === 'qemu') return onQemu(image, (disk) => measure(disk, test))
  /** @type {import('@virtio-ts/driver-block').BlockOptions} */
  const options = { interrupts: where === 'null' ? 'none' : 'auto' }
  const blockdev = where === 'null' ? nothing : inFile(image)
  return onStorageDaemon(blockdev, (path) => overVhostUser(path, options, (disk) => measure(disk, test)))
}

/** No hole anywhere: those would be read without the file system. @param {string} name @returns {string} */
function makeImage(name) {
  const path = join(temporaryFolder(), name)
  const file = openSync(path, 'w')
  const piece = new Uint8Array(256 * BLOCK).fill(0x5a)
  for (let n = 0; n < BLOCKS / 256; n++) writeSync(file, piece)
  closeSync(file)
  return path
}
