// @ts-check
// npm run bench -- NAME [--json] [--quick] [WORD...]: runs one benchmark of this folder and prints its rows. Nothing is asserted.
import { spawnSync } from 'node:child_process'
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
  block:
    'a disk by 4 KiB requests; peers: qemu-img bench, in a Linux guest fio on virtio_blk, and for a disk that does nothing a bare ring; words: daemon qemu guest null read write 1 4 32 128 (depth)',
  ideal:
    'an ideal device in C on the other core, ours against the same loop in C; words: split packed transmit receive roundTrip',
  memory: 'what a queue pair takes, and what ten seconds of the hot loop leave on the heap',
  sweep: 'our driver and DPDK’s on the same testpmd: transmit against ring size and batch; words: split packed',
  guest:
    'netd in a Linux guest, ours, and the kernel’s drivers there, peer; words: vfio vfio-plain sysfs sysfs-plain virtio_net e1000 tcp-out tcp-in udp-out udp-in ping, and a number of rounds',
  idle: 'netd on a testpmd that sends nothing; peer: DPDK’s driver, which polls',
  tap: 'our driver on testpmd’s vhost port; peer: a TAP read and written through node:fs',
  'vhost-user':
    'our driver and DPDK’s on the same testpmd; words: one two (queue pairs) 64 1514 split packed transmit receive roundTrip',
  start: 'from spawning QEMU to DRIVER_OK; peer: the same QEMU until its first answer',
}

const [name = '', ...flags] = process.argv.slice(2)
if (!(name in benchmarks)) {
  console.error(
    `npm run bench -- NAME [--json] [--quick] [WORD...], where NAME is one of\n${Object.entries(benchmarks)
      .map(([key, what]) => `  ${key.padEnd(10)} ${what}`)
      .join('\n')}`,
  )
  process.exit(2)
}

const json = flags.includes('--json')
const { run, notes = [] } = await import(`./${name}.mjs`)
/** @type {import('./report.mjs').Row[]} */
const rows = []
// The ends of processes and of huge pages hang on this one's exit.
for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) {
  process.once(signal, () => process.exit(128 + os.constants.signals[signal]))
}
const options = { quick: flags.includes('--quick'), words: flags.filter((word) => !word.startsWith('--')) }
for await (const row of run(options)) {
  rows.push(row)
  if (json) console.log(formatRow(row))
  else console.error(row.case)
}
if (!json) {
  console.log(`${benchmarks[name]}\n`)
  console.log(formatTable(rows))
  const machine = [
    os.cpus()[0]?.model.trim(),
    `${os.cpus().length} cores`,
    `Linux ${os.release()}`,
    `Node ${process.version}`,
    version('qemu-system-x86_64', '--version', /QEMU emulator version [\d.]+/),
    version('dpdk-testpmd', '-v --in-memory --help', /DPDK [\d.]+/),
    version('cc', '--version', /^.*(cc|clang).*$/m),
    new Date().toISOString().slice(0, 10),
  ]
  console.log(`\n${[machine.join(', '), ...notes].join('\n')}`)
} else for (const note of notes) console.error(note)

/** @param {string} program @param {string} options @param {RegExp} line @returns {string} */
function version(program, options, line) {
  const { stdout, stderr } = spawnSync(program, options.split(' '), { encoding: 'utf8' })
  return line.exec(`${stdout}${stderr}`)?.[0] ?? `no ${program}`
}
