import type { DmaAllocator, DmaRegion } from '@virtio-ts/memory'

/** A packed virtqueue written by hand, from the specification's structs, with literal offsets: shares no code with anything. */
export class PackedHandQueue {
  readonly size: number
  readonly region: DmaRegion
  readonly ring: DataView
  readonly driver: DataView
  readonly device: DataView
  readonly addresses: { descriptorArea: number; driverArea: number; deviceArea: number }
  next = 0
  wrap = true
  used = 0
  usedWrap = true

  constructor(dma: DmaAllocator, size: number) {
    this.size = size
    this.region = dma.allocate(16 * size + 8, 16)
    const { bytes, deviceAddress } = this.region
    this.ring = new DataView(bytes.buffer, bytes.byteOffset, 16 * size)
    this.driver = new DataView(bytes.buffer, bytes.byteOffset + 16 * size, 4)
    this.device = new DataView(bytes.buffer, bytes.byteOffset + 16 * size + 4, 4)
    this.addresses = {
      descriptorArea: deviceAddress,
      driverArea: deviceAddress + 16 * size,
      deviceArea: deviceAddress + 16 * size + 4,
    }
  }

  /** Writes one descriptor, flags as given. */
  write(slot: number, address: number, length: number, id: number, flags: number, table: DataView = this.ring): void {
    table.setUint32(16 * slot, address % 2 ** 32, true)
    table.setUint32(16 * slot + 4, Math.floor(address / 2 ** 32), true)
    table.setUint32(16 * slot + 8, length, true)
    table.setUint16(16 * slot + 12, id, true)
    table.setUint16(16 * slot + 14, flags, true)
  }

  /** Makes a list available: [address, length, flags without AVAIL, USED and NEXT]; the id in its last descriptor. */
  offer(id: number, elements: readonly (readonly [number, number, number])[]): void {
    elements.forEach(([address, length, flags], n) => {
      const last = n === elements.length - 1
      const own = this.wrap ? 0x80 : 0x8000
      this.write(this.next, address, length, last ? id : 0xdead, flags | own | (last ? 0 : 1))
      this.next++
      if (this.next < this.size) return
      this.next = 0
      this.wrap = !this.wrap
    })
  }

  /** The next used descriptor, if there is one; goes on by `count`. */
  takeUsed(count: number): { id: number; len: number; flags: number } | undefined {
    const at = 16 * this.used
    const flags = this.ring.getUint16(at + 14, true)
    if ((flags & 0x8080) !== (this.usedWrap ? 0x8080 : 0)) return undefined
    this.used += count
    if (this.used >= this.size) {
      this.used -= this.size
      this.usedWrap = !this.usedWrap
    }
    return { id: this.ring.getUint16(at + 12, true), len: this.ring.getUint32(at + 8, true), flags: flags & 0x7f7f }
  }

  setDriverEvent(flags: number, offset = 0, wrap = false): void {
    this.driver.setUint16(0, offset | (wrap ? 0x8000 : 0), true)
    this.driver.setUint16(2, flags, true)
  }

  get deviceEvent(): { flags: number; offset: number; wrap: boolean } {
    const where = this.device.getUint16(0, true)
    return { flags: this.device.getUint16(2, true), offset: where & 0x7fff, wrap: where >= 0x8000 }
  }
}
