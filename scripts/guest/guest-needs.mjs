// @ts-check
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'

/** Commands, and the Debian packages they come in. */
const COMMANDS = {
  'apt-get': 'apt',
  'apt-cache': 'apt',
  'dpkg-deb': 'dpkg',
  tar: 'tar',
  setpriv: 'util-linux',
  'qemu-system-x86_64': 'qemu-system-x86',
}

/** What this machine lacks for a guest, or undefined; a probe for `requirement` of test/requirements.ts. @returns {string | undefined} */
export function guestProblem() {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return 'the guest needs Linux on x64: it runs this machine’s node'
  const missing = Object.entries(COMMANDS).filter(([command]) => !isOnPath(command))
  if (missing.length === 0) return undefined
  const [commands, packages] = [missing.map(([command]) => command), missing.map(([, name]) => name)]
  return `the guest is made from Debian packages and run by QEMU: ${commands.join(', ')} not found (apt-get install ${packages.join(' ')})`
}

/** @param {string} command */
function isOnPath(command) {
  return [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'].some((directory) => {
    try {
      accessSync(join(directory, command), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
