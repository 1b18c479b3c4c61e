import { spawnSync } from 'node:child_process'
import { accessSync, closeSync, constants, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'vitest'
import { guestProblem } from '../scripts/guest/guest-needs.mjs'

/** Commands a test can need, and the Debian packages they come in. */
const packages: Readonly<Record<string, string>> = JSON.parse(
  readFileSync(new URL('../scripts/system-packages.json', import.meta.url), 'utf8'),
)

/** Each answers with what is wrong, or undefined when the need is met. */
const probes: Readonly<Record<string, () => string | undefined>> = {
  root: () => (process.getuid?.() === 0 ? undefined : 'not running as root'),
  tun: () => (canOpen('/dev/net/tun') ? undefined : 'cannot open /dev/net/tun'),
  netns: () => (succeeds('unshare', ['--net', 'true']) ? undefined : 'cannot create a network namespace'),
  kvm: () => (canOpen('/dev/kvm') ? undefined : 'cannot open /dev/kvm'),
  qemu: () => missingCommand('qemu-system-x86_64'),
  guest: guestProblem,
}

/** A need without a name of its own: what is wrong, or undefined. */
export type Probe = () => string | undefined

export type Requirement = 'root' | 'tun' | 'netns' | 'kvm' | 'qemu' | 'guest' | (string & {}) | Probe

/**
 * A `describe` for suites that need something of the machine: `requirement('root', 'tun')('TAP interface', () => ...)`.
 * Needs are `root`, `tun`, `netns`, `kvm`, `qemu`, `guest`, a command (`tshark`), or a function that says what is wrong. Where a need
 * is not met the suite is skipped with the reason in its title, and `npm test` lists it; with CI=true it fails instead. The only
 * place that skips tests.
 */
export function requirement(...needs: readonly Requirement[]): (title: string, body: () => void) => void {
  const unmet = needs.map((need) => {
    if (typeof need === 'function') return need()
    const probe = probes[need]
    return probe === undefined ? missingCommand(need) : probe()
  })
  const reason = unmet.filter((problem) => problem !== undefined).join('; ')
  if (reason === '') return (title, body) => void describe(title, body)

  if (process.env['CI'] === 'true') {
    return (title) =>
      void describe(title, () => {
        it('has what it needs', () => {
          throw new Error(`${reason} (CI=true: a suite that cannot run fails)`)
        })
      })
  }
  return (title, body) => void describe.skip(`${title} (${reason})`, body)
}

function missingCommand(command: string): string | undefined {
  const directories = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']
  if (directories.some((directory) => isExecutable(join(directory, command)))) return undefined
  return `${command} is not installed (apt-get install ${packages[command] ?? command})`
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

function canOpen(path: string): boolean {
  try {
    closeSync(openSync(path, 'r+'))
    return true
  } catch {
    return false
  }
}

function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}
