import { constants } from 'node:fs'
import { close, type Mapping, mapShared, open, readAt, writeAt } from '@virtio-ts/native'
import { linuxPaths, type SystemPaths } from '../device-directory.ts'

/** Where sysfs is entered: its files, and how they are reached. */
export interface SysfsSystem {
  readonly paths: SystemPaths
  /** Opens for reading and writing. @throws SystemError */
  open(path: string): number
  close(fd: number): void
  /** @returns bytes read, or the error number negated */
  readAt(fd: number, into: Uint8Array, offset: number): number
  /** @returns bytes written, or the error number negated */
  writeAt(fd: number, from: Uint8Array, offset: number): number
  /** @throws SystemError */
  map(fd: number, length: number): Mapping
}

export const linuxSysfs: SysfsSystem = {
  paths: linuxPaths,
  // O_SYNC asks for registers, not for memory that may be cached.
  open: (path) => open(path, constants.O_RDWR | constants.O_SYNC),
  close,
  readAt,
  writeAt,
  map: (fd, length) => mapShared(fd, length),
}
