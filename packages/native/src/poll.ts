import { Errno } from './errno.ts'
import { errno, libc } from './libc.ts'
import { SystemError } from './system-error.ts'

/** What can be asked of and be reported by `poll` (asm-generic/poll.h); ERR and HUP are always reported. */
export const PollEvent = { IN: 1, OUT: 4, ERR: 8, HUP: 16, NVAL: 32 } as const

// struct pollfd { int fd; short events; short revents; }
const descriptor = new DataView(new ArrayBuffer(8))
const descriptorBytes = new Uint8Array(descriptor.buffer)

/**
 * Waits for one descriptor, blocking this thread: for a worker of its own, or with `timeoutMs` 0 for a look.
 *
 * @param events bits of `PollEvent`
 * @param timeoutMs -1 waits without end
 * @returns the events there are; 0 when the time is up, or a signal came in between
 * @throws SystemError
 */
export function poll(fd: number, events: number, timeoutMs: number): number {
  descriptor.setInt32(0, fd, true)
  descriptor.setInt16(4, events, true)
  descriptor.setInt16(6, 0, true)
  if (libc.poll(descriptorBytes, 1, timeoutMs) < 0) {
    const error = errno()
    if (error === Errno.EINTR) return 0
    throw new SystemError('poll', error, `descriptor ${fd}`)
  }
  return descriptor.getInt16(6, true)
}
