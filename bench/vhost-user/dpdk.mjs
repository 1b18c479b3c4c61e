// @ts-check
// DPDK's virtio-user driver, measured by its own clock and counters.
import { setTimeout as sleep } from 'node:timers/promises'
import { Testpmd, virtioUserDevice } from '@virtio-ts/conformance/testpmd'
import { driverCpu, ran } from '../machine/cores.mjs'
import { onBackEnd, workerOf } from './back-end.mjs'
import { fastestVariant } from './cases.mjs'

/** @typedef {import('./cases.mjs').Case} Case */
/** @typedef {import('../machine/windows.mjs').Window} Window */

const forwarding = /** @type {const} */ ({ transmit: 'txonly', receive: 'rxonly', roundTrip: 'flowgen' })

/** @param {Case} test @param {{ windows: number, milliseconds: number }} effort @returns {Promise<Window[]>} */
export function measureDpdk(test, effort) {
  return onBackEnd(test, async (backEnd) => {
    const { vectorized, inOrder, ealArguments } = fastestVariant(test)
    const { queues, size, batch } = test
    const packed = test.ring === 'packed'
    const driver = await Testpmd.launch({
      devices: [virtioUserDevice({ path: backEnd.path, queues, queueSize: size, packed, vectorized, inOrder })],
      cpu: driverCpu,
      hugepages: true,
      forward: forwarding[test.mode],
      queues,
      ringSize: size,
      burst: batch,
      ealArguments,
      arguments: [`--txpkts=${test.length}`],
    })
    try {
      await driver.start()
      await sleep(200)
      const tid = workerOf(driver)
      await rate(driver, test.mode)
      /** @type {Window[]} */ const windows = []
      for (let i = 0; i < effort.windows; i++) {
        const start = performance.now()
        const before = [ran(driver.pid, tid), ran(backEnd.pid, backEnd.tid)]
        await sleep(effort.milliseconds)
        const packets = await rate(driver, test.mode)
        const elapsed = performance.now() - start
        const driverRan = ran(driver.pid, tid) - /** @type {number} */ (before[0])
        const deviceRan = ran(backEnd.pid, backEnd.tid) - /** @type {number} */ (before[1])
        // It does not tell how many of its polls found nothing.
        windows.push({
          packets: (packets * elapsed) / 1000,
          elapsed,
          polls: Number.NaN,
          empty: 0,
          driverRan,
          deviceRan,
        })
      }
      await driver.stop()
      const { txPackets: sent, rxPackets: received } = await driver.portStats()
      return { windows, totals: { sent, received, slack: size * queues } }
    } finally {
      await driver.close()
    }
  })
}

/** Packets a second since the last call, by testpmd's own clock. @param {Testpmd} driver @param {Case['mode']} mode */
async function rate(driver, mode) {
  const answer = await driver.command('show port stats 0')
  const found = (mode === 'transmit' ? /Tx-pps:\s*(\d+)/ : /Rx-pps:\s*(\d+)/).exec(answer)
  if (found === null) throw new Error(`testpmd gave no rates: ${answer}`)
  return Number(found[1])
}
