import { TapError } from './tap-error.ts'

/** IFNAMSIZ of linux/if.h, without the zero byte at the end. */
const NAME_LENGTH = 15

/**
 * Checks a name as the kernel would, which says no more than EINVAL.
 *
 * @param name may hold `%d` once, for which the kernel puts the first free number
 * @throws TapError `tap.name-invalid`
 */
export function checkTapName(name: string): void {
  const problem = problemOf(name)
  if (problem === undefined) return
  throw new TapError(
    'tap.name-invalid',
    `'${name}' cannot name a network interface: ${problem}. Use 1 to ${NAME_LENGTH} letters, digits, '-', '_' or '.'; ` +
      "'%d' stands for the first free number.",
  )
}

function problemOf(name: string): string | undefined {
  const bytes = Buffer.byteLength(name)
  if (bytes === 0) return 'it is empty'
  if (bytes > NAME_LENGTH) return `it has ${bytes} bytes`
  if (name === '.' || name === '..') return 'it is a folder'
  if (/[/:\s\u0000-\u001f\u007f]/.test(name)) return "it has '/', ':', a space or a control character in it"
  if (name.replace('%d', '').includes('%')) return "it has a '%' that is not '%d', or two of them"
  return undefined
}
