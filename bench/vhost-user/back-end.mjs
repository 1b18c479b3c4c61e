// @ts-check
// testpmd as the back-end both drivers are measured on: a fresh one for each run, on the device's core.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { Testpmd, vhostDevice } from '@virtio-ts/conformance/testpmd'
import { deviceCpu, threadOf } from '../machine/cores.mjs'
import { temporaryFolder } from '../machine/temporary-folder.mjs'

/** @typedef {import('./cases.mjs').Case} Case */
/** @typedef {import('../machine/windows.mjs').Window} Window */

/** What the back-end does, seen from the driver's side. */
const forwarding = /** @type {const} */ ({ transmit: 'rxonly', receive: 'txonly', roundTrip: 'macswap' })

/** Packets a driver counted in all, and those that may be on their way when it stopped. @typedef {{ sent: number, received: number, slack: number }} Totals */

/**
 * @param {Case} test
 * @param {(backEnd: { path: string, pid: number, tid: number }) => Promise<{ windows: Window[], totals: Totals }>} drive measures a driver on it
 * @returns {Promise<Window[]>}
 * @throws Error when driver and back-end counted different packets
 */
export async function onBackEnd(test, drive) {
  const path = join(temporaryFolder(), 'socket')
  const backEnd = await Testpmd.launch({
    devices: [vhostDevice({ path, queues: test.queues })],
    cpu: deviceCpu,
    hugepages: true,
    forward: forwarding[test.mode],
    queues: test.queues,
    arguments: [`--txpkts=${test.length}`],
  })
  try {
    await backEnd.start()
    const { windows, totals } = await drive({ path, pid: backEnd.pid, tid: workerOf(backEnd) })
    await backEnd.stop()
    const { rxPackets, txPackets } = await backEnd.portStats()
    checkCount(`sent, and ${rxPackets} arrived`, totals.sent, rxPackets, 0)
    if (test.mode === 'receive') checkCount(`received, of ${txPackets}`, totals.received, txPackets, totals.slack)
    return windows
  } finally {
    await backEnd.close()
    rmSync(path, { force: true })
  }
}

/** The thread that forwards. @param {Testpmd} testpmd */
export function workerOf(testpmd) {
  return threadOf(testpmd.pid, /worker-?1$/)
}

/** @param {string} what @param {number} driver @param {number} backEnd @param {number} slack */
function checkCount(what, driver, backEnd, slack) {
  if (driver > backEnd || backEnd - driver > slack) throw new Error(`the driver says ${driver} packets ${what}`)
}
