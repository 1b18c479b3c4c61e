import { PciError } from './pci-function.ts'

/**
 * A register access must lie within the BAR and be aligned to its width, as every register of a virtio device is.
 * @throws PciError `pci.bar-bounds`
 */
export function checkAccess(
  bar: { readonly index: number; readonly length: number },
  offset: number,
  width: number,
): void {
  // NaN fails the first comparison, a fraction the last.
  if (offset >= 0 && offset + width <= bar.length && offset % width === 0) return
  const why =
    offset % width === 0
      ? `the BAR has ${bar.length} bytes`
      : `an access of ${8 * width} bits begins at a multiple of ${width}`
  throw new PciError('pci.bar-bounds', `BAR ${bar.index}: ${width} bytes at ${offset} are out of reach: ${why}`)
}
