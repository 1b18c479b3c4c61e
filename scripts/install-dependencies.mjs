// Installs node_modules when it is missing or does not match package-lock.json; otherwise does nothing.
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { runOrThrow } from './run-quietly.mjs'

const root = new URL('..', import.meta.url)

export async function installDependencies() {
  if (isInstalled()) return
  await runOrThrow('Installing dependencies', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])
}

/** Compares the lock with what npm wrote down about the packages it installed. */
function isInstalled() {
  const installed = lockedPackages('node_modules/.package-lock.json')
  if (installed === undefined) return false
  return Object.entries(lockedPackages('package-lock.json')).every(([path, entry]) => {
    if (!path.startsWith('node_modules/')) return true
    // Optional packages are those of other platforms.
    if (installed[path] === undefined) return entry.optional === true
    return installed[path].version === entry.version && existsSync(new URL(path, root))
  })
}

function lockedPackages(name) {
  const path = fileURLToPath(new URL(name, root))
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).packages : undefined
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await installDependencies()
