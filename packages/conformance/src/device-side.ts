/** A chain as the device finds it. */
export interface AvailableChain {
  /** What the device gives back with it: the head descriptor's index, or the buffer id. */
  readonly id: number
  readonly buffers: readonly { readonly address: number; readonly length: number; readonly writable: boolean }[]
}

/**
 * The device half of one virtqueue, with the hand of a test in it: what an honest device does, and the lies of the others.
 * Implemented once for each ring format and each software device.
 */
export interface DeviceSide {
  /** Available buffer notifications received. */
  readonly notifications: number
  /** Bits of an id as the ring carries it: 32 in split rings, 16 in packed ones. */
  readonly idBits: 16 | 32
  /** The chains made available since the last call. @throws Error when the driver broke a rule of the specification */
  takeAvailable(): AvailableChain[]
  /**
   * Marks a chain as used: one it holds, or, as a lie, any id of `idBits` bits.
   * @param written any 32-bit number
   * @returns whether the driver asked to be notified of it; of no meaning after a lie
   */
  putUsed(id: number, written: number): boolean
  /**
   * Marks chains it holds as used, the first one being the oldest: all but the last one completely.
   * @param written into the last one
   * @returns whether the driver asked to be notified of them
   */
  putUsedBatch(ids: readonly number[], written: number): boolean
  /** Asks the driver for no notifications. */
  suppressNotifications(): void
  /**
   * Asks for a notification of the next chain, or, with EVENT_IDX, of the one that comes `after` others.
   * @param after 0 when left out; has to be 0 without EVENT_IDX
   */
  requestNotification(after?: number): void
  /** Writes over what only the driver may write and the device does not need any more. Where the ring format has such a thing. */
  scribble?(): void
  /** Makes it look as if `count` more chains had been used than it has put. Where the ring format has an index. */
  jumpUsed?(count: number): void
}
