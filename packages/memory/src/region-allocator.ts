import { type DeviceAddress, type DmaAllocator, DmaError, type DmaRegion, type DmaStats, deviceAddress } from './dma.ts'

export interface RegionAllocatorOptions {
  /** The block that regions are cut from. Its owner keeps it alive for as long as a region of it is out. */
  readonly bytes: Uint8Array
  /** Where the device sees the first byte of the block. */
  readonly deviceAddress: number
  /** The file behind the block, and where in it the block begins. */
  readonly file?: { readonly fd: number; readonly offset: number }
}

/** A stretch of the block that nobody has: offsets in bytes. */
interface FreeRange {
  start: number
  end: number
}

/** A cache line: two regions never share one unless somebody asks for it. */
const DEFAULT_ALIGNMENT = 64

/**
 * Cuts regions from one block of memory. First fit, in order of address; what comes back merges with its neighbours. Its
 * books are kept outside the block, where no device can write.
 */
export class RegionAllocator implements DmaAllocator {
  readonly #bytes: Uint8Array
  readonly #deviceAddress: DeviceAddress
  readonly #file: RegionAllocatorOptions['file']
  /** Ascending, no two touching. */
  readonly #free: FreeRange[]
  /** Offset in the block of every region that is out: the object is the proof of ownership. */
  readonly #allocated = new Map<DmaRegion, number>()
  #allocatedBytes = 0
  #quarantinedBytes = 0

  /** @throws RangeError when the device could not address the whole block exactly, i.e. beyond 2^53 - 1 */
  constructor(options: RegionAllocatorOptions) {
    this.#bytes = options.bytes
    this.#deviceAddress = deviceAddress(options.deviceAddress)
    deviceAddress(options.deviceAddress + options.bytes.length)
    this.#file = options.file
    this.#free = options.bytes.length === 0 ? [] : [{ start: 0, end: options.bytes.length }]
  }

  /** @see DmaAllocator.allocate */
  allocate(length: number, alignment: number = DEFAULT_ALIGNMENT): DmaRegion {
    if (!Number.isSafeInteger(length) || length < 1) throw new RangeError(`a region has at least 1 byte, not ${length}`)
    if (!isPowerOfTwo(alignment)) throw new RangeError(`an alignment is a power of two, which ${alignment} is not`)
    const start = this.#take(length, alignment)
    if (start === undefined) throw this.#exhausted(length, alignment)
    const region: DmaRegion = {
      bytes: this.#bytes.subarray(start, start + length),
      deviceAddress: deviceAddress(this.#deviceAddress + start),
      length,
      ...(this.#file !== undefined && { file: { fd: this.#file.fd, offset: this.#file.offset + start } }),
    }
    // The last owner's data must not reach the next one's device.
    region.bytes.fill(0)
    this.#allocated.set(region, start)
    this.#allocatedBytes += length
    return region
  }

  /** @see DmaAllocator.free */
  free(region: DmaRegion): void {
    const start = this.#withdraw(region, 'freed')
    this.#giveBack(start, start + region.length)
  }

  /** @see DmaAllocator.quarantine */
  quarantine(region: DmaRegion): void {
    this.#withdraw(region, 'quarantined')
    this.#quarantinedBytes += region.length
  }

  get stats(): DmaStats {
    return {
      allocatedBytes: this.#allocatedBytes,
      allocatedRegions: this.#allocated.size,
      quarantinedBytes: this.#quarantinedBytes,
    }
  }

  /** Cuts `length` bytes out of the first free range that holds them at the alignment; their offset, if there is one. */
  #take(length: number, alignment: number): number | undefined {
    for (const [i, range] of this.#free.entries()) {
      const start = alignedUp(this.#deviceAddress + range.start, alignment) - this.#deviceAddress
      const end = start + length
      if (end > range.end) continue
      const rest: FreeRange[] = []
      if (start > range.start) rest.push({ start: range.start, end: start })
      if (end < range.end) rest.push({ start: end, end: range.end })
      this.#free.splice(i, 1, ...rest)
      return start
    }
    return undefined
  }

  #giveBack(start: number, end: number): void {
    const found = this.#free.findIndex((range) => range.start >= end)
    const after = found === -1 ? this.#free.length : found
    const left = this.#free[after - 1]
    const right = this.#free[after]
    const joinsLeft = left?.end === start
    const joinsRight = right?.start === end
    const merged = {
      start: joinsLeft ? left.start : start,
      end: joinsRight ? right.end : end,
    }
    this.#free.splice(joinsLeft ? after - 1 : after, Number(joinsLeft) + Number(joinsRight), merged)
  }

  #withdraw(region: DmaRegion, action: string): number {
    const start = this.#allocated.get(region)
    if (start === undefined) {
      throw new DmaError(
        'memory.not-allocated',
        `the region at device address 0x${region.deviceAddress.toString(16)} cannot be ${action}: it is not out, ` +
          'or comes from another allocator. Give every region back once, to whom it came from.',
      )
    }
    this.#allocated.delete(region)
    this.#allocatedBytes -= region.length
    return start
  }

  #exhausted(length: number, alignment: number): DmaError {
    const free = this.#free.reduce((sum, range) => sum + range.end - range.start, 0)
    const largest = this.#free.reduce((most, range) => Math.max(most, range.end - range.start), 0)
    return new DmaError(
      'memory.exhausted',
      `no room for ${length} bytes aligned to ${alignment}: of ${this.#bytes.length} bytes ${free} are free, ` +
        `${largest} in one piece, ${this.#quarantinedBytes} in quarantine. Make the allocator larger, or queues and buffers smaller.`,
    )
  }
}

function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1 && Number.isInteger(Math.log2(value))
}

/** Without bit operations: addresses go beyond 32 bits. */
function alignedUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}
