import { closeSync, openSync, readSync } from 'node:fs'
import { pageLength } from '@virtio-ts/native'
import { DmaError } from './dma.ts'

const ENTRY_LENGTH = 8
// Documentation/admin-guide/mm/pagemap.rst of Linux: bits 0 to 54 are the page frame number, bit 63 says that there is one.
const FRAME = (1n << 55n) - 1n
const PRESENT = 1n << 63n

/** Tells where memory of this process is physically. */
export type PageMap = (address: number) => number

/**
 * Where the memory at `address` is now, in bytes from the beginning of physical memory. It stays there only if the kernel
 * cannot move it: huge pages that were touched, or pages that a driver in the kernel pins.
 *
 * @throws DmaError `memory.no-physical-address` when the page is not there, or the kernel hides where
 */
export function physicalAddress(address: number): number {
  const length = pageLength()
  const entry = readEntry(Math.floor(address / length))
  const frame = Number(entry & FRAME)
  if ((entry & PRESENT) !== 0n && frame !== 0) return frame * length + (address % length)
  const why =
    (entry & PRESENT) === 0n
      ? 'it has not been touched yet, or was swapped out'
      : 'the kernel hides it from processes without CAP_SYS_ADMIN: run as root, or use VFIO with an IOMMU, which needs no physical addresses'
  throw new DmaError(
    'memory.no-physical-address',
    `the physical address of the page at 0x${address.toString(16)} is not to be had: ${why}`,
  )
}

function readEntry(page: number): bigint {
  try {
    const file = openSync('/proc/self/pagemap', 'r')
    try {
      const entry = new BigUint64Array(1)
      readSync(file, entry, 0, ENTRY_LENGTH, page * ENTRY_LENGTH)
      return entry[0] as bigint
    } finally {
      closeSync(file)
    }
  } catch (cause) {
    throw new DmaError(
      'memory.no-physical-address',
      `physical addresses are not to be had: /proc/self/pagemap cannot be read (${(cause as Error).message}): run as root, on a kernel with CONFIG_PROC_PAGE_MONITOR`,
      { cause },
    )
  }
}
