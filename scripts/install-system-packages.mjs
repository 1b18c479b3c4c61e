// Installs what the system tests use (scripts/system-packages.json: command or file -> Debian package), where this may:
// as root, with apt-get. Where it cannot it says what is missing; the suites that need it then skip themselves, loudly.
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runOrThrow } from './run-quietly.mjs'

const packages = JSON.parse(readFileSync(new URL('system-packages.json', import.meta.url), 'utf8'))

export async function installSystemPackages() {
  const missing = Object.keys(packages).filter((need) => !(need.startsWith('/') ? existsSync(need) : isOnPath(need)))
  if (missing.length === 0) return
  const names = [...new Set(missing.map((command) => packages[command]))]
  if (process.getuid?.() !== 0 || !isOnPath('apt-get')) {
    console.error(`Missing for the system tests: ${missing.join(', ')}\n  fix: sudo apt-get install ${names.join(' ')}`)
    return
  }
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  try {
    await runOrThrow('Updating the package index', 'apt-get', ['update'], { env })
    await runOrThrow(
      `Installing ${names.join(' ')}`,
      'apt-get',
      ['install', '-y', '--no-install-recommends', ...names],
      { env },
    )
  } catch (error) {
    console.error(error.message)
  }
}

function isOnPath(command) {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await installSystemPackages()
