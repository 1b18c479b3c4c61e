// @ts-check
// Our driver and DPDK's on the same back-end, testpmd's vhost port, in turn: the back-end on one core, the driver on the other.
import { chosen } from './machine/chosen.mjs'
import { needTwoCores } from './machine/cores.mjs'
import { takeHugepages } from './machine/hugepages.mjs'
import { compare, disturbed } from './machine/rounds.mjs'
import { summarize } from './machine/windows.mjs'
import { nameOf } from './vhost-user/cases.mjs'
import { measureDpdk } from './vhost-user/dpdk.mjs'
import { measureOurs } from './vhost-user/ours.mjs'

/** @typedef {import('./vhost-user/cases.mjs').Case} Case */

/** Of two testpmd with 256 MiB each and our driver. */
const MEBIBYTES = 640

/** @param {import('./bench.mjs').Options} options */
export async function* run({ quick, words }) {
  needTwoCores()
  const giveBack = takeHugepages(MEBIBYTES)
  try {
    for (const test of cases(words)) yield* measure(test, quick)
  } finally {
    giveBack()
  }
}

/** @param {Case} test @param {boolean} quick */
async function* measure(test, quick) {
  // The goals are in packets of 64 bytes on one queue pair: there most of the time goes.
  const goal = test.length === 64 && test.queues === 1
  const rounds = quick ? 1 : goal ? 7 : 3
  const effort = quick ? { windows: 3, milliseconds: 120 } : { windows: 7, milliseconds: 150 }
  const rows = await compare(
    nameOf(test),
    { rounds, attempts: rounds + Math.ceil(rounds / 2) },
    async () => summarize(await measureOurs(test, effort), quick ? 1 : 3),
    async () => summarize(await measureDpdk(test, effort), quick ? 1 : 3),
  )
  if (rows === undefined) yield disturbed(nameOf(test))
  else yield* goal ? [rows.rate, rows.empty] : [rows.rate]
}

/** @param {readonly string[]} words @returns {Generator<Case>} */
function* cases(words) {
  for (const queues of chosen(words, /** @type {const} */ (['one', 'two']))) {
    for (const length of chosen(words, /** @type {const} */ (['64', '1514']))) {
      for (const ring of chosen(words, /** @type {const} */ (['split', 'packed']))) {
        for (const mode of chosen(words, /** @type {const} */ (['transmit', 'receive', 'roundTrip']))) {
          yield { ring, mode, length: Number(length), queues: queues === 'two' ? 2 : 1, size: 256, batch: 32 }
        }
      }
    }
  }
}
