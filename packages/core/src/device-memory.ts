import type { DmaAllocator, DmaRegion } from '@virtio-ts/memory'

/** The regions a driver took for one device: all of them end together, given back or set aside. */
export class DeviceMemory {
  readonly #allocator: DmaAllocator
  #regions: DmaRegion[] = []
  #ended = false

  constructor(allocator: DmaAllocator) {
    this.#allocator = allocator
  }

  /** @throws Error once the device has been closed */
  allocate(length: number, alignment?: number): DmaRegion {
    if (this.#ended) throw new Error('the device is closed: it has no memory to give')
    const region = this.#allocator.allocate(length, alignment)
    this.#regions.push(region)
    return region
  }

  release(): void {
    for (const region of this.#take()) this.#allocator.free(region)
  }

  quarantine(): void {
    for (const region of this.#take()) this.#allocator.quarantine(region)
  }

  #take(): DmaRegion[] {
    this.#ended = true
    const regions = this.#regions
    this.#regions = []
    return regions
  }
}
