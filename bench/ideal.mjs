// @ts-check
// The driver's own cost: against an ideal device in C on the other core, ours and the same loop in C. A real back-end is slower than either,
// and hides it.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { compile } from './machine/compile.mjs'
import { deviceCpu, driverCpu, needTwoCores } from './machine/cores.mjs'
import { chosen } from './machine/chosen.mjs'
import { compare, disturbed } from './machine/rounds.mjs'
import { summarize } from './machine/windows.mjs'

/**
 * @typedef {'transmit' | 'receive' | 'roundTrip'} Mode
 * @typedef {{ program: string, packed: boolean, mode: Mode, size: number, batch: number, length: number,
 *   windows: number, milliseconds: number }} Setup
 * @typedef {import('./machine/windows.mjs').Window} Window
 */

const execute = promisify(execFile)
const oursScript = fileURLToPath(new URL('ideal/ours.mjs', import.meta.url))
const modeNames = { transmit: 'transmit', receive: 'receive', roundTrip: 'round trip' }

/** Of the words on the command line, those that name rings or modes leave the others out. @param {import('./bench.mjs').Options} options */
export async function* run({ quick, words }) {
  needTwoCores()
  const program = compile('ideal/device')
  const anchor = compile('ideal/driver')
  const effort = quick ? { rounds: 1, attempts: 2 } : { rounds: 7, attempts: 14 }
  const windows = quick ? { windows: 80, milliseconds: 5 } : { windows: 9, milliseconds: 150 }
  for (const ring of chosen(words, /** @type {const} */ (['split', 'packed']))) {
    for (const mode of chosen(words, /** @type {const} */ (['transmit', 'receive', 'roundTrip']))) {
      const setup = { program, packed: ring === 'packed', mode, size: 256, batch: 32, length: 64, ...windows }
      const rows = await compare(
        `${ring} ${modeNames[mode]}, 64 B`,
        effort,
        async () => summarize(await ours(setup), quick ? 1 : 3),
        async () => summarize(await inC(anchor, setup), quick ? 1 : 3),
      )
      if (rows === undefined) yield disturbed(`${ring} ${modeNames[mode]}, 64 B`)
      else yield* [rows.rate, rows.empty]
    }
  }
}

/** @param {Setup} setup @returns {Promise<Window[]>} */
async function ours(setup) {
  const { stdout } = await execute(process.execPath, [oursScript, JSON.stringify(setup)])
  return JSON.parse(stdout)
}

/** @param {string} anchor @param {Setup} setup @returns {Promise<Window[]>} */
async function inC(anchor, { program, packed, mode, size, batch, length, windows, milliseconds }) {
  const numbers = [size, batch, length, windows, milliseconds, driverCpu, deviceCpu]
  const { stdout } = await execute(anchor, [program, packed ? 'packed' : 'split', mode, ...numbers.map(String)])
  return stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [packets = 0, elapsed = 0, polls = 0, empty = 0, driverRan = 0, deviceRan = 0] = line.split(' ').map(Number)
      return { packets, elapsed: elapsed / 1e6, polls, empty, driverRan: driverRan / 1e6, deviceRan: deviceRan / 1e6 }
    })
}
