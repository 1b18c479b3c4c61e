import { readdirSync } from 'node:fs'
import { errno, libc } from './libc.ts'
import { checked } from './system-error.ts'

const O_CLOEXEC = 0o2000000
const O_NONBLOCK = 0o4000
const F_GETFL = 3
const F_SETFL = 4
const F_DUPFD_CLOEXEC = 1030

/**
 * Opens a file; the descriptor is never inherited by a child process.
 *
 * @param flags of open(2), e.g. `constants.O_RDWR` of node:fs; with O_CREAT the file gets mode 0600
 * @throws SystemError
 */
export function open(path: string, flags: number): number {
  return checked(libc.open(path, flags | O_CLOEXEC, 0o600), 'open', path)
}

/** @throws SystemError `EBADF` when it is not open: somebody closed it twice, and may have closed another's */
export function close(fd: number): void {
  checked(libc.close(fd), 'close', `descriptor ${fd}`)
}

/** A second descriptor for the same open file, not inherited by child processes. @throws SystemError */
export function duplicate(fd: number): number {
  return checked(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0), 'fcntl(F_DUPFD_CLOEXEC)', `descriptor ${fd}`)
}

/** Affects every descriptor of the same open file. @throws SystemError */
export function setBlocking(fd: number, blocking: boolean): void {
  const flags = checked(libc.fcntl(fd, F_GETFL, 0), 'fcntl(F_GETFL)', `descriptor ${fd}`)
  const wanted = blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK
  if (wanted !== flags) checked(libc.fcntl(fd, F_SETFL, wanted), 'fcntl(F_SETFL)', `descriptor ${fd}`)
}

/**
 * Reads into `into[offset]` up to `into[offset + length]`. Never throws for what the system says.
 *
 * @returns bytes read (0: end of file), or the error number negated (`-Errno.EAGAIN`: nothing there yet)
 * @throws RangeError when `offset` and `length` do not lie within `into`
 */
export function read(fd: number, into: Uint8Array, offset = 0, length: number = into.length - offset): number {
  const count = libc.read(fd, window(into, offset, length), length)
  return count < 0 ? -errno() : count
}

/**
 * Writes `from[offset]` up to `from[offset + length]`. Never throws for what the system says.
 *
 * @returns bytes written, or the error number negated (`-Errno.EAGAIN`: no room now)
 * @throws RangeError when `offset` and `length` do not lie within `from`
 */
export function write(fd: number, from: Uint8Array, offset = 0, length: number = from.length - offset): number {
  const count = libc.write(fd, window(from, offset, length), length)
  return count < 0 ? -errno() : count
}

/** Reads at a position of the file (pread): the file's own position stays. @returns as `read` */
export function readAt(fd: number, into: Uint8Array, fileOffset: number): number {
  const count = libc.pread(fd, into, into.length, fileOffset)
  return count < 0 ? -errno() : count
}

/** Writes at a position of the file (pwrite): the file's own position stays. @returns as `write` */
export function writeAt(fd: number, from: Uint8Array, fileOffset: number): number {
  const count = libc.pwrite(fd, from, from.length, fileOffset)
  return count < 0 ? -errno() : count
}

/** How many descriptors this process has open. For tests that look for leaks. */
export function openFdCount(): number {
  // One of the entries is the directory itself, open while it is read.
  return readdirSync('/proc/self/fd').length - 1
}

/** The kernel is handed an address and a length and knows nothing of the array's bounds: check them here. */
function window(bytes: Uint8Array, offset: number, length: number): Uint8Array {
  if (
    !(
      Number.isInteger(offset) &&
      Number.isInteger(length) &&
      offset >= 0 &&
      length >= 0 &&
      offset + length <= bytes.length
    )
  ) {
    throw new RangeError(`bytes ${offset} to ${offset + length} are not within an array of ${bytes.length}`)
  }
  return offset === 0 ? bytes : bytes.subarray(offset, offset + length)
}
