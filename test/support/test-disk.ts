import type { BlockDriver, BlockOptions } from '@virtio-ts/driver-block'

/** A disk to test the driver on, whoever keeps it. */
export interface TestDisk {
  open(options?: BlockOptions): Promise<BlockDriver>
  /** Bytes of the image, as the file system has them. */
  stored(offset: number, length: number): Uint8Array
  /** Bytes the image takes on its file system: `du`. */
  allocated(): number
  /** Gives it another size, in bytes. qemu-storage-daemon 7.2 knows none but the first, whatever becomes of the image. */
  resize?(capacity: number): void | Promise<void>
  /** Bytes of the device's memory that the driver has not given back. */
  allocatedBytes(): number
  /** Ends whoever keeps it, by SIGKILL. */
  kill(): void | Promise<void>
  close(): Promise<void>
}

/** What is to be said of a disk before it is there. */
export interface DiskNeeds {
  readonly readOnly?: boolean
  /** Serves twenty requests a second, after the first few. */
  readonly slow?: boolean
  /** Fails requests of these kinds with EIO where they touch the sector. */
  readonly failing?: readonly { readonly kind: 'read' | 'write' | 'discard'; readonly sector: number }[]
}

export type StartDisk = (needs?: DiskNeeds) => Promise<TestDisk>

/** `inject-error` of QEMU's blkdebug driver, one option after the other. */
export function blkdebugRules({ failing = [] }: DiskNeeds): string {
  return failing
    .flatMap(({ kind, sector }, n) =>
      ['event=none', `iotype=${kind}`, 'errno=5', `sector=${sector}`].map((rule) => `inject-error.${n}.${rule}`),
    )
    .join(',')
}
