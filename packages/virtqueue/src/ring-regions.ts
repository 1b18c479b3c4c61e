import type { DmaAllocator, DmaRegion } from '@virtio-ts/memory'

/** The stretches of memory a ring shares with the device: given back, or set aside, all together. */
export class RingRegions {
  readonly #allocator: DmaAllocator
  readonly #regions: DmaRegion[] = []

  constructor(allocator: DmaAllocator) {
    this.#allocator = allocator
  }

  get all(): readonly DmaRegion[] {
    return this.#regions
  }

  /** @throws DmaError `memory.exhausted`, with nothing left allocated */
  allocate(length: number, alignment: number): DmaRegion {
    try {
      const region = this.#allocator.allocate(length, alignment)
      this.#regions.push(region)
      if (region.bytes.byteOffset % 4 !== 0)
        throw new RangeError('memory of a ring must begin on a multiple of 4 bytes')
      return region
    } catch (error) {
      this.free()
      throw error
    }
  }

  clear(): void {
    for (const region of this.#regions) region.bytes.fill(0)
  }

  free(): void {
    for (const region of this.#regions.splice(0)) this.#allocator.free(region)
  }

  quarantine(): void {
    for (const region of this.#regions.splice(0)) this.#allocator.quarantine(region)
  }
}
