import type { DmaAllocator } from '@virtio-ts/memory'
import { Rules, type SpecClause } from './rules.ts'
import { ViolationLog } from './violation-log.ts'

/** A stretch of memory and the address at which the device sees its first byte. */
export interface MemoryBlock {
  readonly bytes: Uint8Array
  readonly deviceAddress: number
}

export interface DeviceMemoryOptions {
  readonly violations?: ViolationLog
  /** Whether any of these bytes has been given back by the driver: a device that reaches it is a teardown fault. */
  readonly freed?: (address: number, length: number) => boolean
}

/** The memory a device reaches: translates device addresses, checks bounds, records what lies outside. */
export class DeviceMemory {
  readonly block: MemoryBlock
  readonly violations: ViolationLog
  readonly #view: DataView
  readonly #freed: (address: number, length: number) => boolean

  constructor(block: MemoryBlock, options: DeviceMemoryOptions = {}) {
    this.block = block
    this.violations = options.violations ?? new ViolationLog()
    this.#freed = options.freed ?? (() => false)
    this.#view = new DataView(block.bytes.buffer, block.bytes.byteOffset, block.bytes.byteLength)
  }

  /**
   * The whole block that an allocator cuts its regions from: their views share one buffer, which holds neighbouring addresses
   * side by side. Allocates one region for a moment to find it.
   */
  static of(allocator: DmaAllocator, options: DeviceMemoryOptions = {}): DeviceMemory {
    const probe = allocator.allocate(1)
    const bytes = new Uint8Array(probe.bytes.buffer)
    const deviceAddress = probe.deviceAddress - probe.bytes.byteOffset
    allocator.free(probe)
    return new DeviceMemory({ bytes, deviceAddress }, options)
  }

  /**
   * Offset into the block's bytes, or -1 when any of these bytes lies outside.
   * @param what in words, for the record: e.g. `queue 1: ` and `buffer`
   * @param rule under which an address that leads nowhere is recorded
   */
  offsetOf(
    address: number,
    length: number,
    what: readonly string[] = ['buffer'],
    rule: SpecClause = Rules.PLACING_BUFFERS,
  ): number {
    const { bytes, deviceAddress } = this.block
    const offset = address - deviceAddress
    const inside = offset >= 0 && offset + length <= bytes.byteLength
    if (inside && !this.#freed(address, length)) return offset
    const where = `${what.join('')} at 0x${address.toString(16)}+${length}`
    if (inside) this.violations.record(Rules.CLEANUP, `${where} was freed while the device could still reach it`)
    else this.violations.record(rule, `${where} lies outside the memory the device can reach`)
    return -1
  }

  /** A view of these bytes, or undefined when any of them lies outside. */
  bytes(address: number, length: number, what?: readonly string[], rule?: SpecClause): Uint8Array | undefined {
    const offset = this.offsetOf(address, length, what, rule)
    return offset < 0 ? undefined : this.block.bytes.subarray(offset, offset + length)
  }

  /** The block's bytes; offsets are those of `offsetOf`. Multi-byte fields of the ring are little-endian. */
  get view(): DataView {
    return this.#view
  }
}
