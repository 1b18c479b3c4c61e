import { type DeviceAddress, type DmaAllocator, type DmaRegion, type DmaStats } from '@virtio-ts/memory'

/** Memory another thread allocated, as this one has mapped it. */
export interface MappedMemory {
  readonly bytes: Uint8Array
  /** Where the device sees the first of them. */
  readonly deviceAddress: number
}

/**
 * Hands out the stretches of memory that a queue of another thread lies in, one after the other, as they are: neither zeroed, nor
 * ever given back.
 */
export class MappedQueueMemory implements DmaAllocator {
  readonly stats: DmaStats = { allocatedBytes: 0, allocatedRegions: 0, quarantinedBytes: 0 }
  readonly #memory: MappedMemory
  readonly #addresses: number[]

  /** @param addresses device addresses of the stretches, in the order in which they will be asked for */
  constructor(memory: MappedMemory, addresses: readonly number[]) {
    this.#memory = memory
    this.#addresses = [...addresses]
  }

  /** @throws RangeError when the stretch does not lie inside the memory, or not at the alignment */
  allocate(length: number, alignment: number): DmaRegion {
    const address = this.#addresses.shift()
    const { bytes, deviceAddress } = this.#memory
    const offset = (address ?? Number.NaN) - deviceAddress
    if (address === undefined || !(offset >= 0 && offset + length <= bytes.length && Number.isSafeInteger(address))) {
      throw new RangeError(
        `a queue has ${length} bytes at device address 0x${address?.toString(16)}: outside the ${bytes.length} bytes mapped at ` +
          `0x${deviceAddress.toString(16)}. Map the file the queue's owner has allocated it in, from the same byte.`,
      )
    }
    if (address % alignment !== 0)
      throw new RangeError(`a queue at 0x${address.toString(16)}, not aligned to ${alignment}`)
    return { bytes: bytes.subarray(offset, offset + length), deviceAddress: address as DeviceAddress, length }
  }

  free(): void {
    // The owner's.
  }

  quarantine(): void {
    // The owner's.
  }
}
