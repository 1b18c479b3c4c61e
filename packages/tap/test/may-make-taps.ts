import { spawnSync } from 'node:child_process'
import { accessSync, constants } from 'node:fs'

/**
 * Whether tests may enter a network namespace and make TAP interfaces there: as we are, or as root of a user namespace of
 * our own.
 */
export function mayMakeTaps(how: 'as we are' | 'in a user namespace' = 'as we are'): boolean {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK)
  } catch {
    return false
  }
  const command = how === 'as we are' ? ['--net', 'true'] : ['--user', '--map-root-user', '--net', 'true']
  return spawnSync('unshare', command).status === 0
}
