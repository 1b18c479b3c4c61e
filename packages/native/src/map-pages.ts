import { constants } from 'node:buffer'
import { errno, libc } from './libc.ts'
import {
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_NORESERVE,
  MAP_PRIVATE,
  MAP_SHARED,
  type Mapping,
  mappingAt,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
} from './mapping.ts'
import { SystemError } from './system-error.ts'

/**
 * Maps the pages of a file in an order of the caller's, one after the other: huge pages in the order in which they lie in
 * physical memory, for one.
 *
 * @param pageLength bytes, a power of two and a multiple of the file's page size
 * @param order numbers of the file's pages, as they are to follow each other in memory
 * @throws SystemError
 * @throws RangeError when there is no page, or more than a buffer may have
 */
export function mapPages(fd: number, pageLength: number, order: readonly number[]): Mapping {
  const length = order.length * pageLength
  if (!(length >= 1 && length <= constants.MAX_LENGTH)) {
    throw new RangeError(`cannot map ${length} bytes at once: 1 to ${constants.MAX_LENGTH} are possible`)
  }
  // Addresses first, one page more than needed, so that a beginning on a huge page's boundary is among them.
  const reserved = length + pageLength
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
  const from = libc.mmap(0, reserved, PROT_NONE, flags, -1, 0)
  if (from === -1) throw new SystemError('mmap', errno(), `to reserve ${reserved} bytes of addresses`)
  const start = Math.ceil(from / pageLength) * pageLength
  for (const [place, page] of order.entries()) {
    const at = start + place * pageLength
    const mapped = libc.mmap(at, pageLength, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, page * pageLength)
    if (mapped !== -1) continue
    const why = errno()
    libc.munmap(from, reserved)
    throw new SystemError('mmap', why, `page ${page} of descriptor ${fd}`)
  }
  if (start > from) libc.munmap(from, start - from)
  const end = start + length
  if (from + reserved > end) libc.munmap(end, from + reserved - end)
  return mappingAt(start, length)
}
