import type { DmaAllocator, DmaRegion } from '@virtio-ts/memory'

/** A split virtqueue written by hand, from the specification's structs, with literal offsets: shares no code with anything. */
export class HandQueue {
  readonly size: number
  readonly region: DmaRegion
  readonly descriptors: DataView
  readonly available: DataView
  readonly used: DataView
  readonly addresses: { descriptorArea: number; driverArea: number; deviceArea: number }
  availableIndex = 0
  usedIndex = 0

  constructor(dma: DmaAllocator, size: number, start = 0, legacy = false) {
    this.size = size
    const driver = 16 * size
    const device = legacy
      ? Math.ceil((driver + 6 + 2 * size) / 4096) * 4096
      : Math.ceil((driver + 6 + 2 * size) / 4) * 4
    this.region = dma.allocate(device + 6 + 8 * size, 4096)
    const { bytes, deviceAddress } = this.region
    const view = (offset: number, length: number): DataView =>
      new DataView(bytes.buffer, bytes.byteOffset + offset, length)
    this.descriptors = view(0, 16 * size)
    this.available = view(driver, 6 + 2 * size)
    this.used = view(device, 6 + 8 * size)
    this.addresses = {
      descriptorArea: deviceAddress,
      driverArea: deviceAddress + driver,
      deviceArea: deviceAddress + device,
    }
    this.availableIndex = start
    this.usedIndex = start
    this.available.setUint16(2, start, true)
    this.used.setUint16(2, start, true)
  }

  descriptor(
    index: number,
    address: number,
    length: number,
    flags: number,
    next = 0,
    table: DataView = this.descriptors,
  ): void {
    table.setUint32(16 * index, address % 2 ** 32, true)
    table.setUint32(16 * index + 4, Math.floor(address / 2 ** 32), true)
    table.setUint32(16 * index + 8, length, true)
    table.setUint16(16 * index + 12, flags, true)
    table.setUint16(16 * index + 14, next, true)
  }

  /** A chain from `first` on, in consecutive descriptors: [address, length, writable]. */
  chain(first: number, elements: readonly (readonly [number, number, boolean])[]): void {
    elements.forEach(([address, length, writable], n) => {
      const last = n === elements.length - 1
      this.descriptor(first + n, address, length, (writable ? 2 : 0) | (last ? 0 : 1), last ? 0 : first + n + 1)
    })
  }

  /** Puts heads into the available ring and lets the device see them. */
  offer(...heads: number[]): void {
    for (const head of heads) {
      this.available.setUint16(4 + 2 * (this.availableIndex % this.size), head, true)
      this.availableIndex = (this.availableIndex + 1) % 0x10000
    }
    this.available.setUint16(2, this.availableIndex, true)
  }

  /** Used elements the driver has not looked at. */
  takeUsed(): { id: number; len: number }[] {
    const list: { id: number; len: number }[] = []
    while (this.usedIndex !== this.used.getUint16(2, true)) {
      const at = 4 + 8 * (this.usedIndex % this.size)
      list.push({ id: this.used.getUint32(at, true), len: this.used.getUint32(at + 4, true) })
      this.usedIndex = (this.usedIndex + 1) % 0x10000
    }
    return list
  }

  get usedFlags(): number {
    return this.used.getUint16(0, true)
  }

  /** The device's avail_event. */
  get availEvent(): number {
    return this.used.getUint16(4 + 8 * this.size, true)
  }

  set availableFlags(flags: number) {
    this.available.setUint16(0, flags, true)
  }

  set usedEvent(index: number) {
    this.available.setUint16(4 + 2 * this.size, index, true)
  }
}
