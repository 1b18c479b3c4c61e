import { SplitRing } from '@virtio-ts/spec'
import { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceMemory } from './device-memory.ts'
import { Rules, type SpecClause } from './rules.ts'

const { DESCRIPTOR_SIZE, DESC_F_NEXT, DESC_F_WRITE, DESC_F_INDIRECT } = SplitRing
const HIGH_WORD = 2 ** 32

/** A chain that a device cannot go on with. */
export class BrokenChain extends Error {
  readonly rule: SpecClause
  constructor(rule: SpecClause, message: string) {
    super(message)
    this.rule = rule
  }
}

export interface ChainReaderOptions {
  readonly memory: DeviceMemory
  /** The descriptor table. */
  readonly table: Uint8Array
  /** Queue size. */
  readonly size: number
  readonly indirect: boolean
  /** In front of every message, e.g. `queue 1: `. */
  readonly where: string
}

/** Follows descriptor chains, direct and indirect, and holds them against the rules for drivers. */
export class ChainReader {
  readonly #options: ChainReaderOptions
  readonly #buffer: readonly string[]
  readonly #table: DataView
  /** 1 for each descriptor of a buffer that is out with the device. */
  readonly #inUse: Uint8Array
  /** The descriptor table as it was when each of these was read. */
  readonly #seen: Uint8Array

  constructor(options: ChainReaderOptions) {
    this.#options = options
    this.#buffer = [options.where, 'buffer']
    this.#table = viewOf(options.table)
    this.#inUse = new Uint8Array(options.size)
    this.#seen = new Uint8Array(options.size * DESCRIPTOR_SIZE)
  }

  /** @throws BrokenChain when the chain leads nowhere */
  read(head: number): DescriptorChain {
    const { memory, size, where } = this.#options
    const { violations } = memory
    const readable: Uint8Array[] = []
    const writable: Uint8Array[] = []
    const descriptors: number[] = []
    let table = this.#table
    let entries = size
    let index = head
    let length = 0
    for (let count = 1; ; count++) {
      if (index >= entries)
        throw new BrokenChain(Rules.DESCRIPTOR_TABLE, `${where}descriptor ${index} of a table of ${entries}`)
      // VIRTIO 1.3 § 2.7.5.2 "Driver Requirements: The Virtqueue Descriptor Table": loops are forbidden.
      if (count > Math.max(size, entries))
        throw new BrokenChain(Rules.DESCRIPTOR_TABLE, `${where}the chain from ${head} does not end`)
      if (count === size + 1) violations.record(Rules.INDIRECT, `${where}a chain is longer than the queue size ${size}`)
      const inTable = table === this.#table
      if (inTable) this.#claim(index, descriptors)
      const at = index * DESCRIPTOR_SIZE
      const address = table.getUint32(at, true) + table.getUint32(at + 4, true) * HIGH_WORD
      const elementLength = table.getUint32(at + 8, true)
      const flags = table.getUint16(at + 12, true)
      if ((flags & DESC_F_INDIRECT) !== 0) {
        table = this.#indirectTable(inTable, flags, address, elementLength)
        entries = elementLength / DESCRIPTOR_SIZE
        index = 0
        count = 0
        continue
      }
      length += elementLength
      if (elementLength === 0) violations.record(Rules.PLACING_BUFFERS, `${where}a descriptor of length zero`)
      const parts = memory.parts(address, elementLength, this.#buffer)
      if (!parts) throw new BrokenChain(Rules.PLACING_BUFFERS, `${where}a buffer cannot be reached`)
      if ((flags & DESC_F_WRITE) !== 0) writable.push(...parts)
      else {
        if (writable.length > 0)
          violations.record(Rules.FRAMING, `${where}a device-readable descriptor follows a device-writable one`)
        readable.push(...parts)
      }
      if ((flags & DESC_F_NEXT) === 0) break
      index = table.getUint16(at + 14, true)
    }
    if (length > HIGH_WORD)
      violations.record(Rules.DESCRIPTOR_TABLE, `${where}a chain of ${length} bytes is longer than 2^32`)
    return new DescriptorChain(head, readable, writable, descriptors)
  }

  /** The device is done with this buffer: the driver may use its descriptors again, and not before. */
  release(chain: DescriptorChain): void {
    const { memory, where } = this.#options
    for (const index of chain.descriptors) {
      this.#inUse[index] = 0
      if (!this.#descriptor(index).every((byte, n) => byte === this.#seen[index * DESCRIPTOR_SIZE + n]))
        memory.violations.record(Rules.CLEANUP, `${where}descriptor ${index} was altered while its buffer was exposed`)
    }
  }

  /** Takes the descriptor table as it is now for what the driver wrote. */
  remember(): void {
    this.#inUse.forEach((used, index) => {
      if (used !== 0) this.#seen.set(this.#descriptor(index), index * DESCRIPTOR_SIZE)
    })
  }

  #descriptor(index: number): Uint8Array {
    return this.#options.table.subarray(index * DESCRIPTOR_SIZE, (index + 1) * DESCRIPTOR_SIZE)
  }

  #claim(index: number, descriptors: number[]): void {
    const { memory, where } = this.#options
    // Twice in one chain is a loop, which the count ends.
    if (this.#inUse[index] !== 0 && !descriptors.includes(index))
      memory.violations.record(Rules.CLEANUP, `${where}descriptor ${index} was made available twice`)
    this.#inUse[index] = 1
    this.#seen.set(this.#descriptor(index), index * DESCRIPTOR_SIZE)
    descriptors.push(index)
  }

  #indirectTable(inTable: boolean, flags: number, address: number, length: number): DataView {
    const { memory, where, indirect } = this.#options
    const broken = (text: string): BrokenChain => new BrokenChain(Rules.INDIRECT, where + text)
    if (!indirect) throw broken('an indirect descriptor without INDIRECT_DESC')
    if (!inTable) throw broken('an indirect descriptor within an indirect table')
    if ((flags & DESC_F_NEXT) !== 0) throw broken('a descriptor with both INDIRECT and NEXT')
    if (length === 0 || length % DESCRIPTOR_SIZE !== 0)
      throw broken(`an indirect table of ${length} bytes, no multiple of ${DESCRIPTOR_SIZE}`)
    const table = memory.bytes(address, length, [where, 'indirect table'], Rules.INDIRECT)
    if (!table) throw broken('an indirect table cannot be reached')
    return viewOf(table)
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
