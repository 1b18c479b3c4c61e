import { readFileSync } from 'node:fs'

const units: Readonly<Record<string, number>> = { K: 1, M: 1024, G: 1024 * 1024 }

/**
 * Where files of huge pages of the system's default size can have names; undefined where no such file system is mounted.
 * @param mounts as /proc/mounts has them @param meminfo as /proc/meminfo has it
 */
export function hugePageFolder(
  mounts: string = readFileSync('/proc/mounts', 'utf8'),
  meminfo: string = readFileSync('/proc/meminfo', 'utf8'),
): string | undefined {
  const kibibytes = /^Hugepagesize:\s+(\d+) kB$/m.exec(meminfo)?.[1]
  for (const line of mounts.split('\n')) {
    const [, path = '', type, options = ''] = line.split(' ')
    if (type !== 'hugetlbfs' || !options.split(',').includes('rw')) continue
    const [, count, unit = ''] = /(?:^|,)pagesize=(\d+)([KMG])/.exec(options) ?? []
    if (count === undefined || Number(count) * (units[unit] ?? 0) === Number(kibibytes)) return unescaped(path)
  }
  return undefined
}

/** Blanks and the like are octal numbers there. */
function unescaped(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}
