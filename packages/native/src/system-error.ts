import { Errno } from './errno.ts'
import { errno, errnoByName, libc } from './libc.ts'

// Of two names for one number the one in Errno wins: it comes last.
const names = new Map<number, string>(
  [...Object.entries(errnoByName).reverse(), ...Object.entries(Errno)].map(([name, value]) => [value, name]),
)

/** `EPERM` for 1; `errno 999` for a number without a name. Takes the negative form of read and write too. */
export function errnoName(errno: number): string {
  const value = Math.abs(errno)
  return names.get(value) ?? `errno ${value}`
}

const remedies: Readonly<Record<string, string>> = {
  EMFILE: 'this process has as many files open as it may; raise the limit with `ulimit -n`',
  ENFILE: 'the system has as many files open as it may; raise fs.file-max',
  ENOSYS: 'this kernel does not have the call; a sandbox may also have taken it away',
}

/** A system call that failed. */
export class SystemError extends Error {
  /** The error's name, e.g. `EPERM`. */
  readonly code: string
  /** Its number, positive. */
  readonly errno: number
  readonly syscall: string

  /** @param context what the call was about, e.g. a path */
  constructor(syscall: string, errno: number, context?: string) {
    const code = errnoName(errno)
    const about = context === undefined ? '' : ` ${context}`
    const remedy = remedies[code]
    super(`${syscall}${about}: ${code} (${libc.strerror(errno)})${remedy === undefined ? '' : `: ${remedy}`}`)
    this.name = 'SystemError'
    this.code = code
    this.errno = errno
    this.syscall = syscall
  }
}

/** The result of a call, or its failure as an exception. Must be the first thing after the call: errno is still there then. */
export function checked(result: number, syscall: string, context?: string): number {
  if (result < 0) throw new SystemError(syscall, errno(), context)
  return result
}
