// @ts-check
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** @type {string | undefined} */ let folder

/** @returns {string} one folder for this process, gone when it exits */
export function temporaryFolder() {
  if (folder === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'virtio-ts-bench-'))
    process.on('exit', () => rmSync(made, { recursive: true, force: true }))
    folder = made
  }
  return folder
}
