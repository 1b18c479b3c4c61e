import { constants } from 'node:buffer'
import { errno, libc, pointerTo, viewOf } from './libc.ts'
import { SystemError } from './system-error.ts'

// asm-generic/mman-common.h
export const PROT_NONE = 0x0
export const PROT_READ = 0x1
export const PROT_WRITE = 0x2
export const MAP_SHARED = 0x01
export const MAP_PRIVATE = 0x02
export const MAP_FIXED = 0x10
export const MAP_ANONYMOUS = 0x20
export const MAP_NORESERVE = 0x4000

/** Memory shared with whoever else maps the same file. */
export interface Mapping {
  readonly bytes: Uint8Array
  /** Where it is in this process: page-aligned. */
  readonly address: number
  /**
   * Lets the file go. A view of the memory that is still about is cut off from the file and from everybody else: it
   * reads as zeroes first, and as what was written to it later. Nothing else may use `address` from then on. Idempotent.
   */
  unmap(): void
}

/**
 * Gives the addresses back once no view of them is left. V8 has no way to take a view away (before Node 22), and an access to
 * addresses that are unmapped ends the process.
 */
const unused = new FinalizationRegistry<{ address: number; length: number }>(({ address, length }) => {
  libc.munmap(address, length)
})

/**
 * Maps a file (a memfd, a PCI BAR, a VFIO region), readable and writable.
 *
 * @param length bytes, at least 1 and at most what Node lets a buffer have (4 GiB on Node 20): map larger files in parts
 * @param offset in the file, a multiple of the page size
 * @throws SystemError
 * @throws RangeError when a length or offset is none
 */
export function mapShared(fd: number, length: number, offset = 0): Mapping {
  // A longer view does not throw in koffi: it aborts the process.
  if (!Number.isInteger(length) || length < 1 || length > constants.MAX_LENGTH) {
    throw new RangeError(`cannot map ${length} bytes at once: 1 to ${constants.MAX_LENGTH} are possible; map in parts`)
  }
  if (!Number.isSafeInteger(offset) || offset < 0) throw new RangeError(`${offset} is no file offset`)
  const address = libc.mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset)
  if (address === -1) throw new SystemError('mmap', errno(), `${length} bytes of descriptor ${fd}`)
  return mappingAt(address, length)
}

/** The pages at `address`, mapped by the caller, as a `Mapping`: whose `unmap` gives them back. */
export function mappingAt(address: number, length: number): Mapping {
  const buffer = viewOf(address, length)
  let mapped = true
  return {
    bytes: new Uint8Array(buffer),
    address,
    unmap() {
      if (!mapped) return
      const flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE
      const replaced = libc.mmap(address, length, PROT_READ | PROT_WRITE, flags, -1, 0)
      if (replaced === -1) throw new SystemError('mmap', errno(), 'to take a mapping back')
      mapped = false
      unused.register(buffer, { address, length })
    },
  }
}

/**
 * Address of the first byte, for system calls that take addresses (`IoVector`, VFIO). It is good while something
 * else keeps the memory alive, and only for memory that stays where it is: mappings, and arrays over an ArrayBuffer.
 */
export function addressOf(bytes: Uint8Array): number {
  return pointerTo(bytes)
}
