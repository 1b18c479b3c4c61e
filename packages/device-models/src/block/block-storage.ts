/**
 * Where a block device keeps its sectors of 512 bytes. Each call is carried out before it returns; one that throws a SystemError makes the
 * request fail with VIRTIO_BLK_S_IOERR.
 */
export interface BlockStorage {
  /** Bytes of memory or of the file system that are taken. */
  readonly allocated: number
  /** @param length bytes, whole sectors */
  read(sector: number, length: number): Uint8Array
  write(sector: number, bytes: Uint8Array): void
  /** The range reads as zeroes. @param length bytes. @param release gives storage back where it can */
  zero(sector: number, length: number, release: boolean): void
  /** What was written before is safe when this returns. */
  flush(): void
}
