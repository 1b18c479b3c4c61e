/**
 * Where blocks begin for the device unless somebody says otherwise. Not 0: to a legacy device a queue at page 0 is a
 * queue that is switched off. Below 2^32 for blocks of common sizes, so that the upper half of an address is zero. A
 * multiple of the huge page size, so that a region's alignment is the same for device and processor.
 */
export const DEFAULT_DEVICE_ADDRESS: number = 0x20_0000
