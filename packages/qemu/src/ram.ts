import { type DmaAllocator, DmaError, type DmaRegion, type DmaStats, RegionAllocator } from '@virtio-ts/memory'
import { close, type Mapping, mapShared, memfdCreate, sealAgainstResize, truncate } from '@virtio-ts/native'
import type { RamLayout } from './qemu-arguments.ts'

/**
 * The machine's RAM, shared with QEMU: what devices reach by DMA. A memfd that nobody can shrink, of which the part outside of the
 * PC's holes is given out.
 */
export class Ram implements DmaAllocator {
  /** The whole file: for QEMU. */
  readonly fd: number
  readonly #mapping: Mapping
  readonly #regions: RegionAllocator
  #closed = false

  /** @throws SystemError when there is no memory for it */
  constructor(layout: RamLayout) {
    this.fd = memfdCreate('virtio-ts-ram')
    try {
      truncate(this.fd, layout.fileLength)
      sealAgainstResize(this.fd)
      this.#mapping = mapShared(this.fd, layout.length, layout.offset)
    } catch (error) {
      close(this.fd)
      throw error
    }
    this.#regions = new RegionAllocator({
      bytes: this.#mapping.bytes,
      deviceAddress: layout.deviceAddress,
      file: { fd: this.fd, offset: layout.offset },
    })
  }

  allocate(length: number, alignment?: number): DmaRegion {
    if (this.#closed) {
      throw new DmaError('memory.unavailable', 'the bench has been closed, and its memory with it: start a new one')
    }
    return this.#regions.allocate(length, alignment)
  }

  free(region: DmaRegion): void {
    this.#regions.free(region)
  }

  quarantine(region: DmaRegion): void {
    this.#regions.quarantine(region)
  }

  get stats(): DmaStats {
    return this.#regions.stats
  }

  /**
   * Gives the memory back, once QEMU has ended. Regions that are still out can be touched all the same: they are memory that
   * nobody shares any more, and what was in them is lost. Idempotent.
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#mapping.unmap()
    close(this.fd)
  }
}
