import { PackedRing } from '@virtio-ts/spec'
import { BrokenChain } from './chain-reader.ts'
import { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceMemory } from './device-memory.ts'
import { Rules, type SpecClause } from './rules.ts'

const { DESCRIPTOR_SIZE, DESC_F_NEXT, DESC_F_WRITE, DESC_F_INDIRECT, DESC_F_AVAIL, DESC_F_USED } = PackedRing
const HIGH_WORD = 2 ** 32

export interface PackedListReaderOptions {
  readonly memory: DeviceMemory
  /** The descriptor ring. */
  readonly ring: DataView
  /** Queue size. */
  readonly size: number
  readonly indirect: boolean
  /** In front of every message, e.g. `queue 1: `. */
  readonly where: string
}

interface Elements {
  readonly readable: Uint8Array[]
  readonly writable: Uint8Array[]
}

/** Reads descriptor lists out of a packed ring and holds them against the rules for drivers. */
export class PackedListReader {
  readonly #options: PackedListReaderOptions
  readonly #buffer: readonly string[]
  /** Buffer ids that are out with the device. */
  readonly #held = new Set<number>()

  constructor(options: PackedListReaderOptions) {
    this.#options = options
    this.#buffer = [options.where, 'buffer']
  }

  /** VIRTIO 1.3 § 2.8.1 "Driver and Device Ring Wrap Counters": available are flags that differ, AVAIL as the counter says. */
  isAvailable(slot: number, wrap: number): boolean {
    const flags = this.flags(slot)
    return ((flags & DESC_F_AVAIL) !== 0) === (wrap === 1) && ((flags & DESC_F_USED) !== 0) === (wrap === 0)
  }

  flags(slot: number): number {
    return this.#options.ring.getUint16(slot * DESCRIPTOR_SIZE + PackedRing.DESC_FLAGS, true)
  }

  /**
   * @param slot of the first descriptor, which is available
   * @param most descriptors that can be the list's: those not out with the device already
   * @throws BrokenChain when the list leads nowhere
   */
  read(slot: number, wrap: number, most: number): DescriptorChain {
    const { size, memory, ring, where } = this.#options
    const elements: Elements = { readable: [], writable: [] }
    const slots: number[] = []
    let index = slot
    let counter = wrap
    for (;;) {
      // VIRTIO 1.3 § 2.8.17 "Driver Requirements: Scatter-Gather Support": no longer than the queue, and there as a whole.
      if (slots.length === most)
        throw new BrokenChain(Rules.PACKED_LISTS, `${where}the list from ${slot} is longer than the ring has room for`)
      if (!this.isAvailable(index, counter))
        throw new BrokenChain(
          Rules.PACKED_LISTS,
          `${where}descriptor ${index} of a list is not available, its first one is`,
        )
      slots.push(index)
      const flags = this.flags(index)
      if ((flags & DESC_F_INDIRECT) !== 0) this.#readTable(index, flags, slots.length, elements)
      else this.#element(ring, index * DESCRIPTOR_SIZE, flags, elements)
      if ((flags & DESC_F_NEXT) === 0) break
      index++
      if (index === size) {
        index = 0
        counter ^= 1
      }
    }
    const id = ring.getUint16((slots.at(-1) ?? 0) * DESCRIPTOR_SIZE + PackedRing.DESC_ID, true)
    if (this.#held.has(id))
      memory.violations.record(Rules.PACKED_PLACING, `${where}buffer id ${id} was made available twice`)
    this.#held.add(id)
    return new DescriptorChain(id, elements.readable, elements.writable, slots)
  }

  /** The device is done with this buffer: the driver may use its id again, and not before. */
  release(chain: DescriptorChain): void {
    this.#held.delete(chain.head)
  }

  #element(table: DataView, at: number, flags: number, { readable, writable }: Elements): void {
    const { memory, where } = this.#options
    const { violations } = memory
    const address = table.getUint32(at, true) + table.getUint32(at + 4, true) * HIGH_WORD
    const length = table.getUint32(at + PackedRing.DESC_LENGTH, true)
    if (length === 0) violations.record(Rules.PACKED_PLACING, `${where}a descriptor of length zero`)
    const parts = memory.parts(address, length, this.#buffer, Rules.PACKED_PLACING)
    if (!parts) throw new BrokenChain(Rules.PACKED_PLACING, `${where}a buffer cannot be reached`)
    if ((flags & DESC_F_WRITE) !== 0) {
      writable.push(...parts)
      return
    }
    if (writable.length > 0)
      violations.record(Rules.PACKED_LISTS, `${where}a device-readable element follows a device-writable one`)
    readable.push(...parts)
  }

  /** VIRTIO 1.3 § 2.8.7 "Indirect Flag: Scatter-Gather Support": the elements are what the table holds, in its order. */
  #readTable(slot: number, flags: number, count: number, elements: Elements): void {
    const { memory, ring, size, indirect, where } = this.#options
    const { violations } = memory
    const at = slot * DESCRIPTOR_SIZE
    const address = ring.getUint32(at, true) + ring.getUint32(at + 4, true) * HIGH_WORD
    const length = ring.getUint32(at + PackedRing.DESC_LENGTH, true)
    const broken = (text: string, rule: SpecClause = Rules.PACKED_INDIRECT): BrokenChain =>
      new BrokenChain(rule, where + text)
    if (!indirect) throw broken('an indirect descriptor without INDIRECT_DESC')
    if ((flags & DESC_F_NEXT) !== 0 || count > 1) throw broken('an indirect descriptor within a list')
    if (length === 0 || length % DESCRIPTOR_SIZE !== 0)
      throw broken(`an indirect table of ${length} bytes, no multiple of ${DESCRIPTOR_SIZE}`)
    const bytes = memory.bytes(address, length, [where, 'indirect table'], Rules.PACKED_INDIRECT)
    if (!bytes) throw broken('an indirect table cannot be reached')
    const table = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    if (length / DESCRIPTOR_SIZE > size)
      violations.record(Rules.PACKED_LISTS, `${where}a list is longer than the queue size ${size}`)
    for (let entry = 0; entry < length; entry += DESCRIPTOR_SIZE) {
      const own = table.getUint16(entry + PackedRing.DESC_FLAGS, true)
      if ((own & ~DESC_F_WRITE) !== 0)
        violations.record(
          Rules.PACKED_INDIRECT,
          `${where}flags ${own} within an indirect table, where only WRITE may stand`,
        )
      this.#element(table, entry, own, elements)
    }
  }
}
