// @ts-check
// What a Node program has without virtio: a TAP, read and written through node:fs. Against our driver on testpmd's vhost port.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { compile } from './machine/compile.mjs'
import { needTwoCores } from './machine/cores.mjs'
import { takeHugepages } from './machine/hugepages.mjs'
import { compare, disturbed } from './machine/rounds.mjs'
import { summarize } from './machine/windows.mjs'
import { modeNames } from './vhost-user/cases.mjs'
import { measureOurs } from './vhost-user/ours.mjs'

const MEBIBYTES = 384
const child = fileURLToPath(new URL('tap/child.mjs', import.meta.url))

/** @param {import('./bench.mjs').Options} options */
export async function* run({ quick }) {
  needTwoCores()
  const flood = compile('tap/flood')
  const effort = quick ? { windows: 3, milliseconds: 120 } : { windows: 7, milliseconds: 150 }
  const rounds = quick ? { rounds: 1, attempts: 2 } : { rounds: 7, attempts: 12 }
  const giveBack = takeHugepages(MEBIBYTES)
  try {
    for (const mode of /** @type {const} */ (['transmit', 'receive'])) {
      const name = `${modeNames[mode]}, 64 B`
      const test = /** @type {const} */ ({ ring: 'split', mode, length: 64, queues: 1, size: 256, batch: 32 })
      const rows = await compare(
        name,
        rounds,
        async () => summarize(await measureOurs(test, effort), 1),
        async () => summarize(await measureTap({ mode, length: 64, flood, ...effort }), 1),
      )
      yield rows?.rate ?? disturbed(name)
    }
  } finally {
    giveBack()
  }
}

/** @param {object} setup @returns {Promise<import('./machine/windows.mjs').Window[]>} */
async function measureTap(setup) {
  const { stdout } = await promisify(execFile)('unshare', ['--net', process.execPath, child, JSON.stringify(setup)])
  return JSON.parse(stdout)
}
