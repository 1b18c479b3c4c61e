// @ts-check
// The two cores of a measurement: who runs where, whether both ran, and how far apart they are.
import { execFile, execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import os from 'node:os'
import { promisify } from 'node:util'
import { compile } from './compile.mjs'

/** Where the device or back-end runs, and where the driver. */
export const deviceCpu = 0
export const driverCpu = 1

/** A cache line's round trip between cores that share a cache takes less, in nanoseconds; through the fabric it takes more. */
const NEAR = 250

export function needTwoCores() {
  if (os.cpus().length < 2)
    throw new Error('this benchmark needs two cores: one for the driver, one for the other side')
}

/** Binds the calling process's main thread; V8's own threads stay where they are. */
export function pinToDriverCpu() {
  execFileSync('taskset', ['--pid', '--cpu-list', String(driverCpu), String(process.pid)], { stdio: 'ignore' })
}

/** @param {number} pid @param {number} [tid] @returns {number} milliseconds this thread has run */
export function ran(pid, tid = pid) {
  return Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').split(' ', 1)[0]) / 1e6
}

/** @param {number} pid @param {RegExp} name @returns {number} the thread of that name @throws Error when there is none */
export function threadOf(pid, name) {
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    if (name.test(readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim())) return Number(tid)
  }
  throw new Error(`process ${pid} has no thread ${name}`)
}

/** @returns {Promise<'near' | 'far'>} the host of a virtual machine moves its cores about, within seconds */
export async function distance() {
  const { stdout } = await promisify(execFile)(compile('machine/ping-pong'), [String(driverCpu), String(deviceCpu)])
  return Number(stdout) < NEAR ? 'near' : 'far'
}
