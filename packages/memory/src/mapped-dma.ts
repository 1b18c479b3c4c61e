import { close, type Mapping, mapShared } from '@virtio-ts/native'
import { DEFAULT_DEVICE_ADDRESS } from './default-device-address.ts'
import { type DeviceAddress, type DmaAllocator, DmaError, type DmaRegion, type DmaStats, deviceAddress } from './dma.ts'
import { RegionAllocator } from './region-allocator.ts'

export interface MappedDmaOptions {
  /** Where the device sees the first byte; 2 MiB when left out. */
  readonly deviceAddress?: number
}

/** An allocator over a file in memory, which another process can map as well. */
export class MappedDma implements DmaAllocator {
  /** The file: what a device process gets a copy of. It stays this allocator's to close. */
  readonly fd: number
  /** Bytes. */
  readonly length: number
  /** Where the device sees the first byte. */
  readonly deviceAddress: DeviceAddress
  readonly #mapping: Mapping
  readonly #regions: RegionAllocator
  #closed = false

  /** @param fd of `length` bytes, sealed against resizing; from now on owned by this object */
  constructor(fd: number, length: number, options: MappedDmaOptions = {}) {
    this.fd = fd
    this.length = length
    this.deviceAddress = deviceAddress(options.deviceAddress ?? DEFAULT_DEVICE_ADDRESS)
    deviceAddress(this.deviceAddress + length)
    this.#mapping = mapShared(fd, length)
    this.#regions = new RegionAllocator({
      bytes: this.#mapping.bytes,
      deviceAddress: this.deviceAddress,
      file: { fd, offset: 0 },
    })
  }

  /** Where the first byte is in this process, for system calls that take addresses (VFIO's). */
  get address(): number {
    return this.#mapping.address
  }

  /** @see DmaAllocator.allocate */
  allocate(length: number, alignment?: number): DmaRegion {
    if (this.#closed) {
      throw new DmaError('memory.unavailable', 'the allocator has been closed: open a new one for a new device')
    }
    return this.#regions.allocate(length, alignment)
  }

  /** @see DmaAllocator.free */
  free(region: DmaRegion): void {
    this.#regions.free(region)
  }

  /** @see DmaAllocator.quarantine */
  quarantine(region: DmaRegion): void {
    this.#regions.quarantine(region)
  }

  get stats(): DmaStats {
    return this.#regions.stats
  }

  /**
   * Lets the file and the memory go; a device process that has the file keeps its view. Memory with a region in quarantine
   * stays mapped for as long as the process lives. Idempotent.
   *
   * @throws DmaError `memory.in-use` while a region is out: free it, or quarantine it
   */
  close(): void {
    if (this.#closed) return
    const { allocatedRegions, allocatedBytes, quarantinedBytes } = this.#regions.stats
    if (allocatedRegions > 0) {
      throw new DmaError(
        'memory.in-use',
        `${allocatedRegions} regions (${allocatedBytes} bytes) are still out: a device may be using them. ` +
          'Reset the device, free its regions (or quarantine them if the reset was not confirmed), then close.',
      )
    }
    this.#closed = true
    if (quarantinedBytes === 0) this.#mapping.unmap()
    close(this.fd)
  }
}
