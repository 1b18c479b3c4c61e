import { libc } from './libc.ts'
import { checked } from './system-error.ts'

// sys/eventfd.h
const EFD_CLOEXEC = 0o2000000
const EFD_NONBLOCK = 0o4000

/**
 * A counter as a file: writing 8 bytes (a little-endian number) adds to it and makes it readable, reading 8 bytes takes
 * all of it. Non-blocking, not inherited by child processes.
 *
 * @throws SystemError
 */
export function eventfd(): number {
  return checked(libc.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd')
}
