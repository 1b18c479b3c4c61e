// @ts-check
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from '../workspaces.mjs'
import { CHECKOUT } from './checkout-tree.mjs'
import { GuestError } from './guest-error.mjs'

/**
 * Unpacks what V8 wrote in the guest, with the paths of this checkout instead of the guest's.
 * @param {Uint8Array} archive a tar @param {string} directory
 * @returns {number} files
 */
export function unpackCoverage(archive, directory) {
  mkdirSync(directory, { recursive: true })
  const { status, stderr } = spawnSync('tar', ['-x', '-C', directory], { input: archive, encoding: 'utf8' })
  if (status !== 0) throw new GuestError('guest.command', `cannot write coverage into ${directory}: ${stderr}`)
  const names = readdirSync(directory).filter((name) => name.endsWith('.json'))
  for (const name of names) {
    const text = readFileSync(join(directory, name), 'utf8')
    writeFileSync(join(directory, name), text.replaceAll(`file://${CHECKOUT}/`, pathToFileURL(root).href))
  }
  return names.length
}
