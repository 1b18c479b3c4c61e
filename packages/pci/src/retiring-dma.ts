import { type DmaAllocator, DmaError, type DmaRegion, type DmaStats } from '@virtio-ts/memory'

/** An allocator whose memory can be given back: while regions are out it refuses. */
export interface ClosableDma extends DmaAllocator {
  close(): void
}

/**
 * An allocator that outlives the function it belongs to for as long as anybody has a region of it: drivers give their memory
 * back after the device is gone, not before.
 */
export class RetiringDma implements DmaAllocator {
  readonly #memory: ClosableDma
  #retired = false

  constructor(memory: ClosableDma) {
    this.#memory = memory
  }

  /** @see DmaAllocator.allocate */
  allocate(length: number, alignment?: number): DmaRegion {
    if (this.#retired) {
      throw new DmaError(
        'memory.unavailable',
        'the function that this memory belongs to is closed or gone: open it again',
      )
    }
    return this.#memory.allocate(length, alignment)
  }

  /** @see DmaAllocator.free */
  free(region: DmaRegion): void {
    this.#memory.free(region)
    this.#closeIfUnused()
  }

  /** @see DmaAllocator.quarantine */
  quarantine(region: DmaRegion): void {
    this.#memory.quarantine(region)
    this.#closeIfUnused()
  }

  get stats(): DmaStats {
    return this.#memory.stats
  }

  /** Nothing is handed out from now on; the memory goes with its last region. Idempotent. */
  retire(): void {
    this.#retired = true
    this.#closeIfUnused()
  }

  #closeIfUnused(): void {
    if (this.#retired && this.#memory.stats.allocatedRegions === 0) this.#memory.close()
  }
}
