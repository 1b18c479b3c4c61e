// @ts-check
// npm run bench -- NAME [--json] [--quick] [WORD...]: runs one benchmark of this folder and prints its rows. Nothing is asserted.
import { execFileSync } from 'node:child_process'
import os from 'node:os'
import { formatRow, formatTable } from './report.mjs'

/**
 * `quick`: only see whether it works; `words`: what else is on the command line, for the benchmark to understand.
 * @typedef {{ quick: boolean, words: readonly string[] }} Options
 */

/** What each measures, and how its columns are called. @type {Record<string, string>} */
const benchmarks = {
  ring: 'cost of one packet on the split ring, against the batch; peer: objects, BigInt and DataView',
  hub: 'frames from NIC to hub to NIC in one QEMU; ours: event-driven, peer: polled',
  arp: 'ARP round trip through QEMU’s user networking; ours: event-driven, peer: polled',
  ideal:
    'an ideal device in C on the other core, ours against the same loop in C; words: split packed transmit receive roundTrip',
  start: 'from spawning QEMU to DRIVER_OK; peer: the same QEMU until its first answer',
}

const [name = '', ...flags] = process.argv.slice(2)
if (!(name in benchmarks)) {
  console.error(
    `npm run bench -- NAME [--json] [--quick] [WORD...], where NAME is one of\n${Object.entries(benchmarks)
      .map(([key, what]) => `  ${key.padEnd(6)} ${what}`)
      .join('\n')}`,
  )
  process.exit(2)
}

const json = flags.includes('--json')
const { run } = await import(`./${name}.mjs`)
/** @type {import('./report.mjs').Row[]} */
const rows = []
const options = { quick: flags.includes('--quick'), words: flags.filter((word) => !word.startsWith('--')) }
for await (const row of run(options)) {
  rows.push(row)
  if (json) console.log(formatRow(row))
  else console.error(row.case)
}
if (!json) {
  console.log(`${benchmarks[name]}\n`)
  console.log(formatTable(rows))
  console.log(
    `\n${os.cpus()[0]?.model}, ${os.cpus().length} cores, Linux ${os.release()}, Node ${process.version}, ${qemuVersion()}, ${new Date().toISOString().slice(0, 10)}`,
  )
}

function qemuVersion() {
  try {
    return execFileSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }).split('\n')[0]
  } catch {
    return 'no QEMU'
  }
}
