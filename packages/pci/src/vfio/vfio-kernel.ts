import { constants } from 'node:fs'
import { close, ioctl, type Mapping, mapShared, open, readAt, writeAt } from '@virtio-ts/native'

/** The system calls that VFIO is made of: what a test puts its own kernel in place of. */
export interface VfioKernel {
  /** Opens for reading and writing. @throws SystemError */
  open(path: string): number
  close(fd: number): void
  /** @throws SystemError */
  ioctl(fd: number, request: number, argument: Uint8Array | number): number
  /** @returns bytes read, or the error number negated */
  readAt(fd: number, into: Uint8Array, offset: number): number
  /** @returns bytes written, or the error number negated */
  writeAt(fd: number, from: Uint8Array, offset: number): number
  /** @throws SystemError */
  map(fd: number, length: number, offset: number): Mapping
}

export const linuxVfio: VfioKernel = {
  open: (path) => open(path, constants.O_RDWR),
  close,
  ioctl,
  readAt,
  writeAt,
  map: mapShared,
}
