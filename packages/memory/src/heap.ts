/**
 * Ordinary memory, for devices inside this process: software models and tests.
 * @packageDocumentation
 */

import { DEFAULT_DEVICE_ADDRESS } from './default-device-address.ts'
import type { DmaAllocator } from './dma.ts'
import { RegionAllocator } from './region-allocator.ts'

const DEFAULT_LENGTH = 16 * 1024 * 1024

export interface HeapDmaOptions {
  /** Where the device sees the first byte; 2 MiB when left out. */
  readonly deviceAddress?: number
}

/**
 * An allocator over one ArrayBuffer. There is nothing to close: it goes when nobody refers to it.
 *
 * @param length bytes; 16 MiB when left out, of which the system provides what is touched
 */
export function heapDma(length: number = DEFAULT_LENGTH, options: HeapDmaOptions = {}): DmaAllocator {
  return new RegionAllocator({
    bytes: new Uint8Array(length),
    deviceAddress: options.deviceAddress ?? DEFAULT_DEVICE_ADDRESS,
  })
}
