// @ts-check
// What it costs to wait: netd, told by notifications, and DPDK's driver, which polls, on a testpmd that sends nothing.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Testpmd, vhostDevice, virtioUserDevice } from '@virtio-ts/conformance/testpmd'
import { deviceCpu, driverCpu, ran } from './machine/cores.mjs'
import { temporaryFolder } from './machine/temporary-folder.mjs'
import { alternate } from './report.mjs'

const netd = fileURLToPath(new URL('../apps/netd/bin/netd.js', import.meta.url))

/** @param {import('./bench.mjs').Options} options */
export async function* run({ quick }) {
  const milliseconds = quick ? 500 : 5000
  yield await alternate(
    'waiting for packets',
    '% of a core',
    quick ? 1 : 3,
    () => onBackEnd((path) => idleNetd(path, milliseconds)),
    () => onBackEnd((path) => idleDpdk(path, milliseconds)),
  )
}

/** @param {(path: string) => Promise<number>} measure */
async function onBackEnd(measure) {
  const path = join(temporaryFolder(), 'socket')
  const backEnd = await Testpmd.launch({ devices: [vhostDevice({ path })], cpu: deviceCpu, forward: 'rxonly' })
  try {
    await backEnd.start()
    return await measure(path)
  } finally {
    await backEnd.close()
    rmSync(path, { force: true })
  }
}

/** @param {string} path @param {number} milliseconds */
async function idleNetd(path, milliseconds) {
  const args = ['--net', process.execPath, netd, 'run', `vhost-user:${path}`, '--json']
  const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  try {
    await Promise.race([
      once(child.stdout, 'data'),
      ended.then(([code]) => {
        throw new Error(`netd ended with ${code}`)
      }),
    ])
    return await load(child.pid ?? 0, milliseconds)
  } finally {
    child.kill('SIGTERM')
    await ended
  }
}

/** @param {string} path @param {number} milliseconds */
async function idleDpdk(path, milliseconds) {
  const devices = [virtioUserDevice({ path })]
  const driver = await Testpmd.launch({ devices, cpu: driverCpu, forward: 'rxonly' })
  try {
    await driver.start()
    return await load(driver.pid, milliseconds)
  } finally {
    await driver.close()
  }
}

/** @param {number} pid @param {number} milliseconds @returns {Promise<number>} what its threads used of a core, in percent */
async function load(pid, milliseconds) {
  // What starting took is over by then.
  await sleep(1000)
  const before = allThreads(pid)
  const start = performance.now()
  await sleep(milliseconds)
  return ((allThreads(pid) - before) / (performance.now() - start)) * 100
}

/** @param {number} pid */
function allThreads(pid) {
  return readdirSync(`/proc/${pid}/task`).reduce((sum, tid) => sum + ran(pid, Number(tid)), 0)
}
