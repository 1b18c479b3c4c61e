// @ts-check
// What a queue pair takes, and what ten seconds of the hot loop leave on the heap: round trips on the ideal device, whose memory is nobody's heap.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { compile } from './machine/compile.mjs'
import { needTwoCores } from './machine/cores.mjs'
import { median } from './report.mjs'

const child = fileURLToPath(new URL('memory/child.mjs', import.meta.url))

/** @param {import('./bench.mjs').Options} options */
export async function* run({ quick }) {
  needTwoCores()
  const program = compile('ideal/device')
  for (const ring of ['split', 'packed']) {
    for (const size of [256, 1024]) {
      const { shared } = await measure({ program, ring, size, milliseconds: 0 })
      yield row(`queue pair, ${ring} rings of ${size}: memory the device reaches`, [shared / 1024], 'KiB')
    }
  }
  const milliseconds = quick ? 500 : 10_000
  for (const ring of ['split', 'packed']) {
    const { growths, collections } = await measure({ program, ring, size: 256, milliseconds })
    const name = `${ring} round trip, 64 B, ${milliseconds / 1000} s`
    yield row(`${name}: heap growth`, growths, 'bytes')
    yield row(`${name}: garbage collections`, collections, 'collections')
  }
}

/** @param {object} setup @returns {Promise<{ shared: number, growths: number[], collections: number[] }>} */
async function measure(setup) {
  const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', child, JSON.stringify(setup)])
  return JSON.parse(stdout)
}

/** @param {string} name @param {readonly number[]} values @param {string} unit @returns {import('./report.mjs').Row} */
function row(name, values, unit) {
  return { case: name, ours: median(values), peer: Number.NaN, ratio: Number.NaN, unit, n: values.length }
}
