import type { DmaAllocator, DmaRegion, DmaStats } from '@virtio-ts/memory'

/**
 * The allocator a driver is given: passes everything on, and remembers what was given back, so that the device can tell when it
 * still reaches for it. Memory set aside by `quarantine` stays within reach.
 */
export class TrackedDma implements DmaAllocator {
  readonly #inner: DmaAllocator
  /** Freed stretches: start to end. */
  readonly #freed = new Map<number, number>()

  constructor(inner: DmaAllocator) {
    this.#inner = inner
  }

  get stats(): DmaStats {
    return this.#inner.stats
  }

  allocate(length: number, alignment?: number): DmaRegion {
    const region = this.#inner.allocate(length, alignment)
    this.#reuse(region.deviceAddress, region.deviceAddress + region.length)
    return region
  }

  free(region: DmaRegion): void {
    this.#inner.free(region)
    this.#freed.set(region.deviceAddress, region.deviceAddress + region.length)
  }

  quarantine(region: DmaRegion): void {
    this.#inner.quarantine(region)
  }

  /** Whether any of these bytes was given back and not handed out again. */
  freed(address: number, length: number): boolean {
    for (const [start, end] of this.#freed) if (start < address + length && address < end) return true
    return false
  }

  #reuse(from: number, to: number): void {
    for (const [start, end] of [...this.#freed]) {
      if (start >= to || end <= from) continue
      this.#freed.delete(start)
      if (start < from) this.#freed.set(start, from)
      if (end > to) this.#freed.set(to, end)
    }
  }
}
