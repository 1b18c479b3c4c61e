import type { DeviceAddress, DmaAllocator, DmaRegion } from '@virtio-ts/memory'
import { PackedRing, packedRingLayout } from '@virtio-ts/spec'
import { PackedDeviceArea } from './packed-device-area.ts'
import { RingRegions } from './ring-regions.ts'
import type { QueueAddresses } from './virtqueue.ts'

export interface PackedRingMemoryOptions {
  readonly allocator: DmaAllocator
  readonly size: number
  /** Buffers an indirect table holds; 0 for no tables. */
  readonly tableCapacity: number
  readonly mapDeviceArea?: (bytes: Uint8Array, offset: number, size: number) => PackedDeviceArea
}

/** The memory a packed ring shares with the device: the three areas and, where wanted, an indirect table per buffer id. */
export class PackedRingMemory {
  readonly addresses: QueueAddresses
  /** Four words per descriptor: address low, address high, length, id and flags. Written only; the device writes here too. */
  readonly descriptors: Uint32Array
  /** Driver event suppression as one word: offset and wrap counter below, flags above. Written only. */
  readonly driverEvents: Uint32Array
  readonly deviceArea: PackedDeviceArea
  /** The indirect tables one after the other, as words. Written only. */
  readonly tables: Uint32Array
  readonly tablesAddress: number
  readonly #regions: RingRegions

  /** @throws DmaError `memory.exhausted`, with nothing left allocated */
  constructor({ allocator, size, tableCapacity, mapDeviceArea }: PackedRingMemoryOptions) {
    this.#regions = new RingRegions(allocator)
    const layout = packedRingLayout(size)
    // VIRTIO 1.3 § 2.8.11 "Driver Requirements: Virtqueues": 16, 4 and 4 bytes at least.
    const ring = this.#regions.allocate(layout.length, layout.alignment)
    const { buffer, byteOffset } = ring.bytes
    this.descriptors = new Uint32Array(buffer, byteOffset, layout.descriptorAreaLength >> 2)
    this.driverEvents = new Uint32Array(buffer, byteOffset + layout.driverArea, 1)
    this.deviceArea = mapDeviceArea
      ? mapDeviceArea(ring.bytes, layout.deviceArea, size)
      : new PackedDeviceArea(ring.bytes, layout.deviceArea, size)
    this.addresses = {
      descriptorArea: ring.deviceAddress,
      driverArea: (ring.deviceAddress + layout.driverArea) as DeviceAddress,
      deviceArea: (ring.deviceAddress + layout.deviceArea) as DeviceAddress,
    }
    const tablesLength = size * tableCapacity * PackedRing.DESCRIPTOR_SIZE
    const tables = tablesLength === 0 ? undefined : this.#regions.allocate(tablesLength, 64)
    this.tablesAddress = tables?.deviceAddress ?? 0
    this.tables = tables
      ? new Uint32Array(tables.bytes.buffer, tables.bytes.byteOffset, tablesLength >> 2)
      : new Uint32Array(0)
  }

  /** Zeroes everything: with both wrap counters at 1 that is a ring in which nothing is available and nothing used. */
  clear(): void {
    this.#regions.clear()
  }

  get regions(): readonly DmaRegion[] {
    return this.#regions.all
  }

  free(): void {
    this.#regions.free()
  }

  quarantine(): void {
    this.#regions.quarantine()
  }
}
