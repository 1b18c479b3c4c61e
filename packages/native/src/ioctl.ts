import { libc } from './libc.ts'
import { checked } from './system-error.ts'

/**
 * Makes a device-specific call.
 *
 * @param request number from the device's header; where it encodes the size of its structure, `argument` must be that large
 * @param argument the structure, read and written in place, or a plain number
 * @returns what the call returns, 0 for most
 * @throws SystemError
 * @throws RangeError when `argument` is too small for `request`: the kernel would write beyond it
 */
export function ioctl(fd: number, request: number, argument: Uint8Array | number): number {
  const name = `ioctl(0x${request.toString(16)})`
  if (typeof argument === 'number') return checked(libc.ioctlNumber(fd, request, argument), name, `descriptor ${fd}`)
  const size = sizeInRequest(request)
  if (argument.length < size) {
    throw new RangeError(`${name} works on ${size} bytes and got ${argument.length}`)
  }
  return checked(libc.ioctlBytes(fd, request, argument), name, `descriptor ${fd}`)
}

/**
 * asm-generic/ioctl.h: bits 30-31 say whether a structure is passed, bits 16-29 its size. Requests older than that scheme
 * (the socket ones, 0x89xx) and VFIO's, whose structures begin with their size, have zeroes there.
 */
function sizeInRequest(request: number): number {
  return request >>> 30 === 0 ? 0 : (request >>> 16) & 0x3fff
}
