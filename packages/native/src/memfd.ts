import { libc } from './libc.ts'
import { checked } from './system-error.ts'

// linux/memfd.h
const MFD_CLOEXEC = 0x1
const MFD_ALLOW_SEALING = 0x2
const MFD_HUGETLB = 0x4

// linux/fcntl.h
const F_ADD_SEALS = 1033
const F_SEAL_SEAL = 0x1
const F_SEAL_SHRINK = 0x2
const F_SEAL_GROW = 0x4

/**
 * A file without a name in memory, empty, that can be sealed and is not inherited by child processes.
 *
 * @param name shown in /proc/self/maps, at most 249 bytes
 * @param options `hugetlb`: backed by huge pages of the default size; its length must be a multiple of that size
 * @throws SystemError
 */
export function memfdCreate(name: string, options: { readonly hugetlb?: boolean } = {}): number {
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (options.hugetlb === true ? MFD_HUGETLB : 0)
  return checked(libc.memfd_create(name, flags), 'memfd_create', name)
}

/** Sets the length of a file, in bytes. @throws SystemError `EPERM` when a seal forbids it */
export function truncate(fd: number, length: number): void {
  checked(libc.ftruncate(fd, length), 'ftruncate', `descriptor ${fd}`)
}

/**
 * Takes the memory behind the first `length` bytes of a file now: what is short is an error here, and not a SIGBUS at the
 * first access.
 *
 * @throws SystemError `ENOSPC` or `ENOMEM` when there is not so much
 */
export function preallocate(fd: number, length: number): void {
  checked(libc.fallocate(fd, 0, 0, length), 'fallocate', `${length} bytes of descriptor ${fd}`)
}

/**
 * Fixes the length of a memfd for ever. Do this before another process gets the descriptor: one that truncates the file
 * would make the next access to our mapping of it a SIGBUS, which ends the process.
 *
 * @throws SystemError `EPERM` when it has been sealed before, `EINVAL` when it is no memfd
 */
export function sealAgainstResize(fd: number): void {
  checked(
    libc.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
    'fcntl(F_ADD_SEALS)',
    `descriptor ${fd}`,
  )
}
