// @ts-check
// Our driver on the same back-end, in a process of its own.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { onBackEnd } from './back-end.mjs'

/** @typedef {import('./cases.mjs').Case} Case */
/** @typedef {import('../machine/windows.mjs').Window} Window */

const child = fileURLToPath(new URL('ours-child.mjs', import.meta.url))

/** @param {Case} test @param {{ windows: number, milliseconds: number }} effort @returns {Promise<Window[]>} */
export function measureOurs(test, effort) {
  return onBackEnd(test, async (backEnd) => {
    const setup = JSON.stringify({ ...test, ...effort, backEnd })
    const { stdout } = await promisify(execFile)(process.execPath, [child, setup])
    return JSON.parse(stdout)
  })
}
