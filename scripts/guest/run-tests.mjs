// @ts-check
import { readdirSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { CHECKOUT } from './checkout-tree.mjs'
import { GuestError } from './guest-error.mjs'

/** @typedef {import('./linux-guest.mjs').Guest} Guest */

/**
 * Where a folder of tests lies in the guest: inside the checkout, so that they can import `@virtio-ts/*`.
 * @param {string} folder on this machine @returns {import('./initrd.mjs').GuestFile} for the option `files` of `bootGuest`
 */
export function testFolder(folder) {
  return { from: resolve(folder), to: join(CHECKOUT, 'guest-tests', basename(resolve(folder))) }
}

/**
 * Runs all `*.test.mjs` and `*.test.js` of a folder with Node's test runner in the guest, which was booted with `files: [testFolder(folder)]`.
 * @param {Guest} guest @param {string} folder on this machine
 * @param {{ timeoutSeconds?: number, coverage?: boolean, onOutput?: (text: string) => void, signal?: AbortSignal }} [options]
 * `timeoutSeconds`: for all of them, 60 when left out
 * @returns {Promise<{ code: number | null, signal: string | null, stdout: string, stderr: string }>} stdout is TAP; the code is 0 when all passed
 */
export async function runTests(
  guest,
  folder,
  { timeoutSeconds = 60, coverage = false, onOutput = () => {}, signal } = {},
) {
  const { to } = testFolder(folder)
  const files = testFiles(folder).map((name) => join(to, name))
  if (files.length === 0) throw new GuestError('guest.command', `there is no *.test.mjs and no *.test.js in ${folder}`)
  return await guest.run(['node', '--test', '--test-reporter=tap', ...files], {
    directory: CHECKOUT,
    environment: coverage ? { NODE_V8_COVERAGE: '/tmp/coverage' } : {},
    timeoutSeconds,
    onOutput,
    signal,
  })
}

/** @param {string} folder @returns {string[]} */
function testFiles(folder) {
  if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new GuestError('guest.command', `${folder} is no folder: name one with *.test.mjs files`)
  }
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.test\.(m?js)$/.test(name))
    .sort()
}
