import type { PciBar } from '@virtio-ts/pci'

/** How often a range is read at most, until two readings agree. */
export const MAX_CONFIG_READS = 64

/**
 * Width of the accesses that make up a range of device configuration. Fields want accesses of their own width, and the
 * transport is not told where fields are: a range of 1, 2, 4 or 8 bytes at its natural alignment is taken for one
 * field, and any other for an array of bytes. No access then reaches beyond the range, which matters at the end of
 * the configuration: QEMU answers an access that crosses it with all-ones throughout.
 * @see VIRTIO 1.3 § 4.1.3.1 "Driver Requirements: PCI Device Layout"
 */
function accessWidth(offset: number, length: number): 1 | 2 | 4 {
  if ((length === 4 || length === 8) && offset % 4 === 0) return 4
  return length === 2 && offset % 2 === 0 ? 2 : 1
}

/** @param base where configuration begins in the BAR, a multiple of 4 @param offset of the first byte in it */
export function readFields(bar: PciBar, base: number, offset: number, into: Uint8Array): void {
  const width = accessWidth(offset, into.length)
  for (let at = 0; at < into.length; at += width) {
    const value = readWidth(bar, base + offset + at, width)
    for (let i = 0; i < width; i++) into[at + i] = value >>> (8 * i)
  }
}

export function writeFields(bar: PciBar, base: number, offset: number, from: Uint8Array): void {
  const width = accessWidth(offset, from.length)
  for (let at = 0; at < from.length; at += width) {
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + (from[at + i] ?? 0)
    writeWidth(bar, base + offset + at, width, value)
  }
}

function readWidth(bar: PciBar, offset: number, width: 1 | 2 | 4): number {
  if (width === 4) return bar.read32(offset)
  return width === 2 ? bar.read16(offset) : bar.read8(offset)
}

function writeWidth(bar: PciBar, offset: number, width: 1 | 2 | 4, value: number): void {
  if (width === 4) bar.write32(offset, value)
  else if (width === 2) bar.write16(offset, value)
  else bar.write8(offset, value)
}
