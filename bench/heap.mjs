// @ts-check
// What ten seconds of the hot loop leave on the heap: round trips on the ideal device, whose memory is nobody's heap.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { compile } from './machine/compile.mjs'
import { needTwoCores } from './machine/cores.mjs'
import { median } from './report.mjs'

const child = fileURLToPath(new URL('heap/child.mjs', import.meta.url))

/** @param {import('./bench.mjs').Options} options */
export async function* run({ quick }) {
  needTwoCores()
  const program = compile('ideal/device')
  const milliseconds = quick ? 500 : 10_000
  for (const packed of [false, true]) {
    /** @type {number[]} */ const growths = []
    /** @type {number[]} */ const collections = []
    for (let i = 0; i < (quick ? 1 : 3); i++) {
      const setup = JSON.stringify({ program, packed, milliseconds })
      const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', child, setup])
      const { growth, collected } = JSON.parse(stdout)
      growths.push(growth)
      collections.push(collected)
    }
    const name = `${packed ? 'packed' : 'split'} round trip, 64 B, ${milliseconds / 1000} s`
    const none = { peer: Number.NaN, ratio: Number.NaN, n: growths.length }
    yield { case: `${name}: heap growth`, ours: median(growths), unit: 'bytes', ...none }
    yield { case: `${name}: garbage collections`, ours: median(collections), unit: '', ...none }
  }
}
