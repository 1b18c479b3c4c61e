/** An address as the device sees it: below 2^53, so that it is exact as a number. */
export type DeviceAddress = number & { readonly __deviceAddress: never }

/** @throws RangeError when `value` is not an integer from 0 to 2^53 - 1 */
export function deviceAddress(value: number): DeviceAddress {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`device address ${value} is not exact`)
  return value as DeviceAddress
}

/**
 * A stretch of memory that both the driver and the device reach. Whoever allocated it owns it, and may give it back
 * (`DmaAllocator.free`) only when the device can no longer touch it: after a confirmed reset.
 */
export interface DmaRegion {
  /** The driver's view. Its `buffer` may span more than this region: keep to `byteOffset` and `byteLength`. */
  readonly bytes: Uint8Array
  readonly deviceAddress: DeviceAddress
  /** Bytes. */
  readonly length: number
  /** The file behind the memory, where there is one, and where in it the region begins: what vhost-user passes on. */
  readonly file?: { readonly fd: number; readonly offset: number }
}

export interface DmaStats {
  /** Bytes and regions handed out and not yet given back. */
  readonly allocatedBytes: number
  readonly allocatedRegions: number
  /** Bytes that will never be used again because a device may still write to them. */
  readonly quarantinedBytes: number
}

/** Memory that the devices of one bus can reach. */
export interface DmaAllocator {
  /**
   * @param length bytes, at least 1; the region is zeroed
   * @param alignment of the device address, a power of two; 64 when left out
   * @throws DmaError `memory.exhausted` when there is no room
   */
  allocate(length: number, alignment?: number): DmaRegion
  /** Takes back a region of this allocator. @throws DmaError `memory.not-allocated` for any other, or a second time */
  free(region: DmaRegion): void
  /** Sets a region aside for ever: for memory that a device may still write to because its reset was not confirmed. */
  quarantine(region: DmaRegion): void
  readonly stats: DmaStats
}

export class DmaError extends Error {
  readonly code:
    | 'memory.exhausted'
    | 'memory.in-use'
    | 'memory.no-physical-address'
    | 'memory.not-allocated'
    | 'memory.unavailable'
  constructor(code: DmaError['code'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'DmaError'
    this.code = code
  }
}
