import { close, type Mapping, mapPages, mapShared } from '@virtio-ts/native'
import { type DmaAllocator, DmaError, type DmaRegion, type DmaStats } from './dma.ts'
import type { HugePageFile } from './huge-page-file.ts'
import type { PageMap } from './page-map.ts'
import { RegionAllocator } from './region-allocator.ts'

/** Memory without a break, for the processor as well as for a device. */
export interface PhysicalRun {
  /** Where it begins in this process. */
  readonly address: number
  /** Where it begins in physical memory. */
  readonly physicalAddress: number
  /** Bytes: whole huge pages. */
  readonly length: number
}

/**
 * An allocator over huge pages, whose regions have their physical addresses as device addresses: for a device that reaches
 * memory past any IOMMU. Huge pages are not swapped, and compaction leaves them where they are. Two of them may lie
 * anywhere: no region crosses from one to another that is not its neighbour in physical memory.
 */
export class PhysicalDma implements DmaAllocator {
  /** Ascending; no two touch. */
  readonly runs: readonly PhysicalRun[]
  readonly #fd: number
  readonly #mapping: Mapping
  readonly #allocators: readonly RegionAllocator[]
  readonly #owners = new Map<DmaRegion, RegionAllocator>()
  #closed = false

  /** @param file from now on owned by this object @throws DmaError `memory.no-physical-address`, SystemError; the file is the caller's then */
  constructor(file: HugePageFile, pageMap: PageMap) {
    const { pageLength } = file
    this.#fd = file.fd
    const sorted = inPhysicalOrder(file, pageMap)
    // In that order also for the processor: neighbours in physical memory become one piece.
    this.#mapping = mapPages(file.fd, pageLength, sorted)
    try {
      this.runs = findRuns(this.#mapping, pageLength, pageMap)
    } catch (error) {
      this.#mapping.unmap()
      throw error
    }
    this.#allocators = this.runs.map(({ address, physicalAddress, length }) => {
      const offset = address - this.#mapping.address
      return new RegionAllocator({
        bytes: this.#mapping.bytes.subarray(offset, offset + length),
        deviceAddress: physicalAddress,
      })
    })
  }

  /** @see DmaAllocator.allocate */
  allocate(length: number, alignment?: number): DmaRegion {
    if (this.#closed) {
      throw new DmaError('memory.unavailable', 'the allocator has been closed: open a new one for a new device')
    }
    for (const allocator of this.#allocators) {
      try {
        const region = allocator.allocate(length, alignment)
        this.#owners.set(region, allocator)
        return region
      } catch (error) {
        if (!(error instanceof DmaError && error.code === 'memory.exhausted')) throw error
      }
    }
    throw this.#exhausted(length)
  }

  /** @see DmaAllocator.free */
  free(region: DmaRegion): void {
    this.#ownerOf(region).free(region)
    this.#owners.delete(region)
  }

  /** @see DmaAllocator.quarantine */
  quarantine(region: DmaRegion): void {
    this.#ownerOf(region).quarantine(region)
    this.#owners.delete(region)
  }

  get stats(): DmaStats {
    let [allocatedBytes, allocatedRegions, quarantinedBytes] = [0, 0, 0]
    for (const { stats } of this.#allocators) {
      allocatedBytes += stats.allocatedBytes
      allocatedRegions += stats.allocatedRegions
      quarantinedBytes += stats.quarantinedBytes
    }
    return { allocatedBytes, allocatedRegions, quarantinedBytes }
  }

  /**
   * Gives the pages back; with a region in quarantine they stay this process's for as long as it lives. Idempotent.
   * @throws DmaError `memory.in-use` while a region is out: free it, or quarantine it
   */
  close(): void {
    if (this.#closed) return
    const { allocatedRegions, quarantinedBytes } = this.stats
    if (allocatedRegions > 0) {
      throw new DmaError(
        'memory.in-use',
        `${allocatedRegions} regions are still out: a device may be using them. Reset the device, free its regions ` +
          '(or quarantine them if the reset was not confirmed), then close.',
      )
    }
    this.#closed = true
    if (quarantinedBytes === 0) this.#mapping.unmap()
    close(this.#fd)
  }

  /** Of a region that none of them has, the first one says so. */
  #ownerOf(region: DmaRegion): RegionAllocator {
    return this.#owners.get(region) ?? (this.#allocators[0] as RegionAllocator)
  }

  #exhausted(length: number): DmaError {
    const longest = Math.max(...this.runs.map((run) => run.length))
    const total = this.runs.reduce((sum, run) => sum + run.length, 0)
    return new DmaError(
      'memory.exhausted',
      `no room for ${length} bytes: of ${total} bytes ${this.stats.allocatedBytes} are out, and the huge pages lie in ${this.runs.length} pieces, ` +
        `of which the longest has ${longest} bytes. Make the memory larger, queues and buffers smaller, or reserve huge pages at boot ` +
        '(kernel parameter hugepages=N), when they lie side by side.',
    )
  }
}

/** Numbers of the file's pages, by physical address. */
function inPhysicalOrder({ fd, length, pageLength }: HugePageFile, pageMap: PageMap): number[] {
  const mapping = mapShared(fd, length)
  try {
    const pages = Array.from({ length: length / pageLength }, (_, page) => {
      touch(mapping, page * pageLength)
      return { page, at: pageMap(mapping.address + page * pageLength) }
    })
    return pages.sort((a, b) => a.at - b.at).map(({ page }) => page)
  } finally {
    mapping.unmap()
  }
}

function findRuns(mapping: Mapping, pageLength: number, pageMap: PageMap): PhysicalRun[] {
  const runs: { address: number; physicalAddress: number; length: number }[] = []
  for (let offset = 0; offset < mapping.bytes.length; offset += pageLength) {
    touch(mapping, offset)
    const address = mapping.address + offset
    const physicalAddress = pageMap(address)
    const last = runs.at(-1)
    if (last !== undefined && last.physicalAddress + last.length === physicalAddress) last.length += pageLength
    else runs.push({ address, physicalAddress, length: pageLength })
  }
  return runs
}

/** A page has no entry in the page table before its first access; a write, so that it is this mapping's own. */
function touch(mapping: Mapping, offset: number): void {
  mapping.bytes[offset] = 0
}
