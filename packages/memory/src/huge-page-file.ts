import { constants, readFileSync, rmSync } from 'node:fs'
import { close, memfdCreate, open, preallocate, SystemError, sealAgainstResize, truncate } from '@virtio-ts/native'
import { DmaError } from './dma.ts'

/** A sealed file in memory of whole huge pages, all of them taken. */
export interface HugePageFile {
  /** The caller's to close. */
  readonly fd: number
  /** Bytes: a multiple of `pageLength`. */
  readonly length: number
  /** Bytes of one huge page of the system's default size. */
  readonly pageLength: number
}

/**
 * @param length bytes, rounded up to whole huge pages
 * @param path where it has a name in a file system of huge pages, and keeps its pages until that is removed; must not be there yet
 * @throws DmaError `memory.unavailable` when there are too few free huge pages, or none on this kernel
 */
export function hugePageFile(length: number, path?: string): HugePageFile {
  const pageLength = hugePageLength()
  const pages = Math.ceil(length / pageLength)
  const whole = pages * pageLength
  let fd: number | undefined
  try {
    fd =
      path === undefined
        ? memfdCreate('virtio-ts', { hugetlb: true })
        : open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL)
    truncate(fd, whole)
    // One with a name is not shared, and cannot be sealed.
    if (path === undefined) sealAgainstResize(fd)
    // A page that is missing later, at the first access, would be a SIGBUS: take them now.
    preallocate(fd, whole)
    return { fd, length: whole, pageLength }
  } catch (error) {
    if (fd !== undefined) {
      close(fd)
      if (path !== undefined) rmSync(path, { force: true })
    }
    if (!(error instanceof SystemError)) throw error
    throw unavailable(pages, pageLength, error)
  }
}

/** Bytes of a huge page of the default size. @throws DmaError `memory.unavailable` when this kernel has none */
function hugePageLength(): number {
  const kibibytes = /^Hugepagesize:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1]
  if (kibibytes === undefined) {
    throw new DmaError(
      'memory.unavailable',
      'this kernel has no huge pages (no Hugepagesize in /proc/meminfo): use ordinary shared memory, or a kernel with CONFIG_HUGETLBFS',
    )
  }
  return Number(kibibytes) * 1024
}

function unavailable(pages: number, pageLength: number, cause: SystemError): DmaError {
  const pool = `/sys/kernel/mm/hugepages/hugepages-${pageLength / 1024}kB`
  const free = readCount(`${pool}/free_hugepages`) - readCount(`${pool}/resv_hugepages`)
  const total = readCount(`${pool}/nr_hugepages`)
  return new DmaError(
    'memory.unavailable',
    `${pages} huge pages of ${pageLength / 1024} KiB are needed, ${free} of ${total} are free: ` +
      `make more with \`sysctl vm.nr_hugepages=${total - free + pages}\` as root (soon after boot, before memory is fragmented)`,
    { cause },
  )
}

function readCount(path: string): number {
  return Number(readFileSync(path, 'utf8'))
}
