import { join } from 'node:path'
import { parseFields } from './parse-fields.ts'
import { readText } from './read-text.ts'

/** Where the two versions of cgroups keep what is needed: files of the memory controller, and a field of its statistics. */
const versions = [
  { usage: 'current', limit: 'max', inactive: 'inactive_file' },
  { usage: 'usage_in_bytes', limit: 'limit_in_bytes', inactive: 'total_inactive_file' },
] as const

/** Version 1 has no word for "no limit": it says a number near 2^63. */
const NO_LIMIT = 2 ** 60

/**
 * Bytes that a cgroup can still take without giving up anything but caches.
 * @param directory of the memory controller, version 1 or 2
 * @returns undefined where there is no limit; `unreadable` where it is no such directory
 */
export async function cgroupAvailable(directory: string): Promise<number | undefined | 'unreadable'> {
  for (const { usage, limit, inactive } of versions) {
    const [used, most] = await Promise.all([number(directory, usage), number(directory, limit)])
    if (used === undefined || most === undefined) continue
    if (most >= NO_LIMIT) return undefined
    const caches = parseFields((await readText(controllerFile(directory, 'stat'))) ?? '').get(inactive) ?? 0
    return Math.max(0, most - used + Math.min(caches, used))
  }
  return 'unreadable'
}

/** A file of the memory controller. */
export function controllerFile(directory: string, name: string): string {
  return join(directory, `memory.${name}`)
}

/** `max` is as much as there can be. */
async function number(directory: string, file: string): Promise<number | undefined> {
  const text = (await readText(controllerFile(directory, file)))?.trim()
  if (text === 'max') return Number.POSITIVE_INFINITY
  return text !== undefined && /^[0-9]{1,20}$/.test(text) ? Number(text) : undefined
}
