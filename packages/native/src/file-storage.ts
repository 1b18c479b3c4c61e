import { libc } from './libc.ts'
import { checked } from './system-error.ts'

// linux/falloc.h
const FALLOC_FL_KEEP_SIZE = 0x1
const FALLOC_FL_PUNCH_HOLE = 0x2

/**
 * Gives back what a stretch of a file takes on its file system; it reads as zeroes from then on. The file keeps its length.
 *
 * @throws SystemError `EOPNOTSUPP` where the file system knows no holes
 */
export function punchHole(fd: number, offset: number, length: number): void {
  const mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
  checked(libc.fallocate(fd, mode, offset, length), 'fallocate', `descriptor ${fd}, ${length} bytes at ${offset}`)
}

/** Returns when what was written is where it outlasts a loss of power (fdatasync). @throws SystemError `EIO`, `ENOSPC`: what was written may be lost */
export function syncData(fd: number): void {
  checked(libc.fdatasync(fd), 'fdatasync', `descriptor ${fd}`)
}
