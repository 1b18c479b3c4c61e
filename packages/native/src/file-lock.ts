import { constants } from 'node:fs'
import { Errno } from './errno.ts'
import { close, open } from './file-descriptor.ts'
import { errno, libc } from './libc.ts'
import { SystemError } from './system-error.ts'

// sys/file.h
const LOCK_EX = 2
const LOCK_NB = 4

/**
 * Takes the exclusive lock (flock) on a file, which is made where it is missing. The kernel lets the lock go with the process, however
 * that ends: a lock that is held means that its holder lives.
 *
 * @returns a descriptor: closing it gives the lock back. Undefined when somebody has the lock, this process included
 * @throws SystemError
 */
export function lockFile(path: string): number | undefined {
  const fd = open(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW)
  if (libc.flock(fd, LOCK_EX | LOCK_NB) === 0) return fd
  const error = errno()
  close(fd)
  if (error === Errno.EAGAIN) return undefined
  throw new SystemError('flock', error, path)
}
