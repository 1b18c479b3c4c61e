import type { DeviceAddress } from '@virtio-ts/memory'

/** A stretch of whole pages: the address and the length, in bytes, are multiples of 4096. */
export interface PageRange {
  readonly address: DeviceAddress
  readonly length: number
}

/**
 * Where the balloon's pages come from, and go to: the owner's choice, since it is the owner's memory. Pages are 4096 bytes, whatever the
 * machine's are, and go by number: the address at which the device sees them, divided by 4096.
 */
export interface PageSource {
  /**
   * Takes pages out of use, for the balloon. Nobody may touch them until `give` or `abandon`.
   * @returns as many as `most`, fewer if there are not that many; the balloon asks again later
   */
  take(most: number): readonly number[]
  /** Pages that are of use again, in any order. What is in them is lost, unless they are filled. */
  give(pages: readonly number[]): void
  /** Pages that the device did not let go of: never to be used again. */
  abandon?(pages: readonly number[]): void
  /**
   * Free memory that stays the owner's and is not in use, to be reported or hinted. Nobody may touch it until `giveFree` or
   * `abandonFree`. Large ranges are better than small ones.
   * @param most ranges
   * @param purpose `report`: memory that was not reported since it was last in use; `hint`: all that is free
   * @returns nothing when there is no more
   */
  takeFree?(most: number, purpose: 'report' | 'hint'): readonly PageRange[]
  /**
   * Memory that may be used again. What is in it is lost: VIRTIO 1.3 § 5.5.6.7.1 "Driver Requirements: Free Page Reporting", and the same
   * with hints.
   */
  giveFree?(ranges: readonly PageRange[]): void
  /** Memory that the device did not let go of. */
  abandonFree?(ranges: readonly PageRange[]): void
  /** Fills memory with `value`, four bytes little-endian: with PAGE_POISON. */
  fill?(range: PageRange, value: number): void
}
