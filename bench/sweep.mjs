// @ts-check
// Where ring size and batch stop to matter: transmit on testpmd's vhost port, DPDK's driver with the same ring and burst beside ours.
import { chosen } from './machine/chosen.mjs'
import { needTwoCores } from './machine/cores.mjs'
import { takeHugepages } from './machine/hugepages.mjs'
import { compare, disturbed } from './machine/rounds.mjs'
import { summarize } from './machine/windows.mjs'
import { measureDpdk } from './vhost-user/dpdk.mjs'
import { measureOurs } from './vhost-user/ours.mjs'

const MEBIBYTES = 640
const sizes = [64, 128, 256, 512, 1024].map((size) => ({ size, batch: 32 }))
const batches = [1, 4, 8, 16, 64].map((batch) => ({ size: 256, batch }))

/** @param {import('./bench.mjs').Options} options */
export async function* run({ quick, words }) {
  needTwoCores()
  const giveBack = takeHugepages(MEBIBYTES)
  try {
    for (const ring of chosen(words, /** @type {const} */ (['split', 'packed']))) {
      for (const { size, batch } of quick ? sizes.slice(0, 1) : [...sizes, ...batches]) {
        const name = `${ring} transmit, 64 B, rings of ${size}, batches of ${batch}`
        const test = /** @type {const} */ ({ ring, mode: 'transmit', length: 64, queues: 1, size, batch })
        const effort = { windows: quick ? 3 : 7, milliseconds: 120 }
        const rows = await compare(
          name,
          { rounds: quick ? 1 : 3, attempts: quick ? 1 : 5 },
          async () => summarize(await measureOurs(test, effort), 1),
          async () => summarize(await measureDpdk(test, effort), 1),
        )
        yield rows?.rate ?? disturbed(name)
      }
    }
  } finally {
    giveBack()
  }
}
