/**
 * Memory that a device can reach. This entry holds the contracts only; allocators are in `./heap` (ordinary memory, for
 * devices inside this process), `./memfd` and `./hugetlb` (shareable memory).
 * @packageDocumentation
 */
export { type DeviceAddress, type DmaAllocator, DmaError, type DmaRegion, type DmaStats, deviceAddress } from './dma.ts'
export { RegionAllocator, type RegionAllocatorOptions } from './region-allocator.ts'
