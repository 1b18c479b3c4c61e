import { type DmaAllocator, DmaError, type DmaRegion, type DmaStats } from '@virtio-ts/memory'
import { hugetlbDma } from '@virtio-ts/memory/hugetlb'
import { type MappedDma, memfdDma } from '@virtio-ts/memory/memfd'
import { VirtioError } from '@virtio-ts/spec'
import type { FrontEnd, SharedRegion } from './front-end.ts'

export interface MemoryOptions {
  /** Bytes in all. */
  readonly length: number
  /** Taken from the system's huge pages. */
  readonly hugepages: boolean
  /** Files it is made of, at consecutive addresses. */
  readonly regions: number
}

/** Where descriptors find the first byte: small numbers, so that an address is a plain 32-bit store. */
const FIRST_ADDRESS = 2 * 1024 * 1024
/** Regions begin at multiples of this, whatever their pages are. */
const GRANULE = 2 * 1024 * 1024

/**
 * The memory of one connection: files that nobody can resize, of which the back-end gets copies. It ends with the connection and is never
 * used for another one, so that a back-end that goes on writing when it should not reaches nobody.
 */
export class VhostUserMemory implements DmaAllocator {
  readonly #path: string
  readonly #parts: readonly MappedDma[]
  readonly #owners = new Map<DmaRegion, MappedDma>()
  readonly #quarantined = new Map<DmaRegion, MappedDma>()
  #quarantinedBytes = 0
  #shared = false
  #retired = false
  #reason: Error | undefined

  /** @throws DmaError `memory.unavailable` for huge pages that are not there; SystemError */
  constructor(path: string, options: MemoryOptions) {
    this.#path = path
    const length = Math.ceil(options.length / options.regions / GRANULE) * GRANULE
    const parts: MappedDma[] = []
    try {
      for (let i = 0; i < options.regions; i++) {
        const last = parts.at(-1)
        const deviceAddress = last ? last.deviceAddress + last.length : FIRST_ADDRESS
        parts.push(options.hugepages ? hugetlbDma(length, { deviceAddress }) : memfdDma(length, { deviceAddress }))
      }
    } catch (error) {
      for (const part of parts) part.close()
      throw error
    }
    this.#parts = parts
  }

  /**
   * Tells the back-end, and returns when it knows. May be repeated: a back-end that was reset may have forgotten the table, though not
   * regions that were added one by one.
   * @throws VirtioError `vhost-user.memory-slots` when it cannot take so many regions
   */
  async share(frontEnd: FrontEnd): Promise<void> {
    const regions: SharedRegion[] = this.#parts.map(({ fd, deviceAddress, length }) => ({
      fd,
      deviceAddress,
      length,
      fileOffset: 0,
    }))
    const slots = this.#shared ? regions.length : await frontEnd.memorySlots()
    if (regions.length > slots) {
      throw new VirtioError(
        'vhost-user.memory-slots',
        `${this.#path}: the back-end takes ${slots} regions of memory, not ${regions.length}; use fewer (memory.regions)`,
        { device: this.#path, detail: { slots, regions: regions.length } },
      )
    }
    if (!frontEnd.has('CONFIGURE_MEM_SLOTS')) await frontEnd.setMemoryTable(regions)
    else if (!this.#shared) for (const region of regions) await frontEnd.addMemoryRegion(region)
    this.#shared = true
    await frontEnd.settle()
  }

  /** What is at an address of the device, in this process; undefined where it does not lie within one region of a driver's. */
  view(deviceAddress: number, length: number): Uint8Array | undefined {
    for (const region of this.#owners.keys()) {
      const offset = deviceAddress - region.deviceAddress
      if (offset >= 0 && offset + length <= region.length) return region.bytes.subarray(offset, offset + length)
    }
    return undefined
  }

  /** @see DmaAllocator.allocate; where the connection was lost, throws what it was lost for */
  allocate(length: number, alignment?: number): DmaRegion {
    if (this.#reason) throw this.#reason
    if (this.#retired)
      throw new DmaError(
        'memory.unavailable',
        `the connection to ${this.#path} has ended, and its memory with it: connect again`,
      )
    for (const [i, part] of this.#parts.entries()) {
      try {
        const region = part.allocate(length, alignment)
        this.#owners.set(region, part)
        return region
      } catch (error) {
        const isExhausted = error instanceof DmaError && error.code === 'memory.exhausted'
        if (!isExhausted || i === this.#parts.length - 1) throw error
      }
    }
    throw new RangeError('memory without regions')
  }

  /** @see DmaAllocator.free */
  free(region: DmaRegion): void {
    // A region that is nobody's is the first part's to complain of.
    const owner = this.#owners.get(region) ?? this.#parts[0]
    owner?.free(region)
    this.#owners.delete(region)
    if (this.#retired) this.#unmapIfUnused()
  }

  /** @see DmaAllocator.quarantine */
  quarantine(region: DmaRegion): void {
    const owner = this.#owners.get(region)
    if (owner === undefined) return void this.#parts[0]?.quarantine(region)
    this.#owners.delete(region)
    this.#quarantinedBytes += region.length
    this.#quarantined.set(region, owner)
    if (this.#retired) this.#unmapIfUnused()
  }

  get stats(): DmaStats {
    let allocatedBytes = 0
    for (const region of this.#owners.keys()) allocatedBytes += region.length
    return { allocatedBytes, allocatedRegions: this.#owners.size, quarantinedBytes: this.#quarantinedBytes }
  }

  /**
   * Gives out no memory any more, and lets go of it all once the last region has come back. Idempotent.
   * @param reason what whoever wants memory is told: the device's end, for one who was about to set it up
   */
  retire(reason?: Error): void {
    this.#retired = true
    this.#reason ??= reason
    this.#unmapIfUnused()
  }

  /** What is in quarantine may go: the device has a mapping of its own, and nobody will get this one's memory again. */
  #unmapIfUnused(): void {
    if (this.#owners.size > 0) return
    for (const [region, owner] of this.#quarantined) owner.free(region)
    this.#quarantined.clear()
    for (const part of this.#parts) part.close()
  }
}
