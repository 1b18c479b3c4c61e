import type { DeviceAddress, DmaAllocator, DmaRegion } from '@virtio-ts/memory'
import { SplitRing, splitRingLayout } from '@virtio-ts/spec'
import { DeviceArea } from './device-area.ts'
import { RingRegions } from './ring-regions.ts'
import type { QueueAddresses } from './virtqueue.ts'

export interface SplitRingMemoryOptions {
  readonly allocator: DmaAllocator
  readonly size: number
  readonly legacy: boolean
  /** Buffers an indirect table holds; 0 for no tables. */
  readonly tableCapacity: number
  readonly mapDeviceArea?: (bytes: Uint8Array, offset: number, size: number) => DeviceArea
}

/** The memory a split ring shares with the device: the three areas and, where wanted, an indirect table per descriptor. */
export class SplitRingMemory {
  readonly addresses: QueueAddresses
  /** Four words per descriptor: address low, address high, length, flags and next. Written only, never read back. */
  readonly descriptors: Uint32Array
  /** Flags, idx, the ring, used_event. Written only. */
  readonly driverArea: Uint16Array
  readonly deviceArea: DeviceArea
  /** The indirect tables one after the other, as words. Written only. */
  readonly tables: Uint32Array
  readonly tablesAddress: number
  readonly #regions: RingRegions
  readonly #size: number
  readonly #deviceAreaFields: Uint16Array

  /** @throws DmaError `memory.exhausted`, with nothing left allocated */
  constructor({ allocator, size, legacy, tableCapacity, mapDeviceArea }: SplitRingMemoryOptions) {
    this.#regions = new RingRegions(allocator)
    this.#size = size
    const layout = splitRingLayout(size, legacy)
    const ring = this.#regions.allocate(layout.length, layout.alignment)
    const { buffer, byteOffset } = ring.bytes
    this.descriptors = new Uint32Array(buffer, byteOffset, layout.descriptorAreaLength >> 2)
    this.driverArea = new Uint16Array(buffer, byteOffset + layout.driverArea, layout.driverAreaLength >> 1)
    this.#deviceAreaFields = new Uint16Array(buffer, byteOffset + layout.deviceArea, layout.deviceAreaLength >> 1)
    this.deviceArea = mapDeviceArea
      ? mapDeviceArea(ring.bytes, layout.deviceArea, size)
      : new DeviceArea(ring.bytes, layout.deviceArea, size)
    this.addresses = {
      descriptorArea: ring.deviceAddress,
      driverArea: (ring.deviceAddress + layout.driverArea) as DeviceAddress,
      deviceArea: (ring.deviceAddress + layout.deviceArea) as DeviceAddress,
    }
    const tablesLength = size * tableCapacity * SplitRing.DESCRIPTOR_SIZE
    const tables = tablesLength === 0 ? undefined : this.#regions.allocate(tablesLength, 64)
    this.tablesAddress = tables?.deviceAddress ?? 0
    this.tables = tables
      ? new Uint32Array(tables.bytes.buffer, tables.bytes.byteOffset, tablesLength >> 2)
      : new Uint32Array(0)
  }

  /**
   * Zeroes everything, then sets both indices: the state before the device is told of the ring. Clearing the device
   * area is the driver's part too.
   * @see VIRTIO 1.3 § 2.7.10.1 "Driver Requirements: Available Buffer Notification Suppression"
   */
  initialize(startIndex: number): void {
    this.#regions.clear()
    this.#deviceAreaFields[SplitRing.USED_IDX >> 1] = startIndex
    this.driverArea[(SplitRing.AVAIL_RING >> 1) + this.#size] = startIndex
    Atomics.store(this.driverArea, SplitRing.AVAIL_IDX >> 1, startIndex)
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
