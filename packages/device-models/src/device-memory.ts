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
  readonly violations: ViolationLog
  readonly #freed: (address: number, length: number) => boolean
  #blocks: readonly MemoryBlock[]

  /** @param blocks one stretch, or several: the memory of a vhost-user front-end. Where two overlap, the first one counts. */
  constructor(blocks: MemoryBlock | readonly MemoryBlock[], options: DeviceMemoryOptions = {}) {
    this.#blocks = 'bytes' in blocks ? [blocks] : blocks
    this.violations = options.violations ?? new ViolationLog()
    this.#freed = options.freed ?? (() => false)
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

  /** Has the device see this memory from now on, and nothing else; views handed out before are not touched. */
  replace(blocks: readonly MemoryBlock[]): void {
    this.#blocks = blocks
  }

  /**
   * Whether these bytes lie side by side in the memory.
   * @param what in words, for the record: e.g. `queue 1: ` and `buffer`
   * @param rule under which an address that leads nowhere is recorded
   */
  reaches(address: number, length: number, what: readonly string[] = ['buffer'], rule?: SpecClause): boolean {
    return this.#find(address, length, what, rule) !== undefined
  }

  /** A view of these bytes, or undefined when any of them lies outside. */
  bytes(
    address: number,
    length: number,
    what: readonly string[] = ['buffer'],
    rule?: SpecClause,
  ): Uint8Array | undefined {
    const block = this.#find(address, length, what, rule)
    if (!block) return undefined
    const offset = address - block.deviceAddress
    return block.bytes.subarray(offset, offset + length)
  }

  /** The same for a buffer, which may begin in one block and go on in the next: its parts in order. */
  parts(
    address: number,
    length: number,
    what: readonly string[] = ['buffer'],
    rule?: SpecClause,
  ): Uint8Array[] | undefined {
    const first = this.#blockOf(address)
    if (!first || address + length <= first.deviceAddress + first.bytes.length) {
      const bytes = this.bytes(address, length, what, rule)
      return bytes && [bytes]
    }
    const parts: Uint8Array[] = []
    for (let at = address; at < address + length; ) {
      const block = this.#blockOf(at)
      if (!block || this.#freed(address, length)) return this.bytes(address, length, what, rule) && parts
      const part = block.bytes.subarray(at - block.deviceAddress, address + length - block.deviceAddress)
      parts.push(part)
      at += part.length
    }
    return parts
  }

  /** Where the device sees these bytes, which this object handed out; -1 for bytes from elsewhere. */
  addressOf(bytes: Uint8Array): number {
    const block = this.#blocks.find((candidate) => candidate.bytes.buffer === bytes.buffer)
    return block ? block.deviceAddress + bytes.byteOffset - block.bytes.byteOffset : -1
  }

  #find(address: number, length: number, what: readonly string[], rule?: SpecClause): MemoryBlock | undefined {
    const block = this.#blocks.find(
      ({ bytes, deviceAddress }) => address >= deviceAddress && address + length <= deviceAddress + bytes.length,
    )
    if (block && !this.#freed(address, length)) return block
    const where = `${what.join('')} at 0x${address.toString(16)}+${length}`
    if (block) this.violations.record(Rules.CLEANUP, `${where} was freed while the device could still reach it`)
    else this.violations.record(rule ?? Rules.PLACING_BUFFERS, `${where} lies outside the memory the device can reach`)
    return undefined
  }

  #blockOf(address: number): MemoryBlock | undefined {
    return this.#blocks.find(
      ({ bytes, deviceAddress }) => address >= deviceAddress && address < deviceAddress + bytes.length,
    )
  }
}
