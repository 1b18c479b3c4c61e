import { constants } from 'node:fs'
import { close, open, setBlocking } from './file-descriptor.ts'
import { ioctl } from './ioctl.ts'

// asm-generic/ioctls.h
const TIOCGPTN = 0x80045430
const TIOCSPTLCK = 0x40045431

/** A pair of a descriptor and a terminal: what is written to one is read from the other. */
export interface Pty {
  /**
   * This end, non-blocking. `setTerminalModes` and `setWindowSize` on it are the terminal's. While nobody has the terminal open, reading
   * what is left and then `EIO`, and `poll` says HUP; that passes when somebody opens it.
   */
  readonly fd: number
  /** Of the terminal: `/dev/pts/3`, mode 0620, of this user. */
  readonly path: string
}

/**
 * Makes a pseudo-terminal, which is there until `fd` is closed. Nobody has the terminal open, and it has the modes every terminal begins with
 * (lines, echo).
 * @throws SystemError, e.g. `ENOSPC` when there are as many as kernel.pty.max
 */
export function openPty(): Pty {
  const fd = open('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY)
  try {
    ioctl(fd, TIOCSPTLCK, new Uint8Array(4))
    const number = new Uint32Array(1)
    ioctl(fd, TIOCGPTN, new Uint8Array(number.buffer))
    const path = `/dev/pts/${number[0]}`
    // Only when it has been opened and closed does the kernel say that nobody has it open.
    close(openTerminal(path))
    setBlocking(fd, false)
    return { fd, path }
  } catch (error) {
    close(fd)
    throw error
  }
}

/** Opens a terminal, for reading and writing, which does not become the one that controls this process. @throws SystemError */
export function openTerminal(path: string): number {
  return open(path, constants.O_RDWR | constants.O_NOCTTY)
}
