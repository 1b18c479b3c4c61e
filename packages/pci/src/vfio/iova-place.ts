import { PciError } from '../pci-function.ts'
import type { IommuInfo, IovaRange } from './vfio-structs.ts'

/** Where x86 takes writes for message signalled interrupts, whatever an IOMMU's driver says of it. */
const MESSAGE_WINDOW: IovaRange = { start: 0xfee0_0000n, end: 0xfeef_ffffn }

/** What a kernel that does not tell ranges is taken to have: the 39 bits of the smallest IOMMU. */
const ASSUMED: IovaRange = { start: 0n, end: (1n << 39n) - 1n }

/** Not 0: to a legacy device a queue at page 0 is one that is switched off. Small, so that an address fits 32 bits. */
const FIRST_CHOICE = 0x20_0000n

const EXACT = BigInt(Number.MAX_SAFE_INTEGER)

/** The device addresses that memory may have: what the IOMMU has, without the window for message signalled interrupts. */
export function usableRanges(info: IommuInfo): IovaRange[] {
  return (info.ranges ?? [ASSUMED]).flatMap(({ start, end }) => {
    if (end < MESSAGE_WINDOW.start || start > MESSAGE_WINDOW.end) return [{ start, end }]
    const around: IovaRange[] = []
    if (start < MESSAGE_WINDOW.start) around.push({ start, end: MESSAGE_WINDOW.start - 1n })
    if (end > MESSAGE_WINDOW.end) around.push({ start: MESSAGE_WINDOW.end + 1n, end })
    return around
  })
}

/**
 * The lowest place for `length` bytes from 2 MiB on.
 * @param alignment a power of two
 * @throws PciError `pci.iova-reserved` when no range has room
 */
export function placeIova(info: IommuInfo, length: number, alignment: number): number {
  const size = BigInt(length)
  const unit = BigInt(Math.max(alignment, info.pageLength))
  for (const { start, end } of usableRanges(info)) {
    const from = start < FIRST_CHOICE ? FIRST_CHOICE : start
    const at = ((from + unit - 1n) / unit) * unit
    if (at + size - 1n <= end && at + size <= EXACT) return Number(at)
  }
  throw new PciError(
    'pci.iova-reserved',
    `the IOMMU has no room for ${length} bytes in one piece: its ranges are ${describeRanges(info)}; ask for less memory`,
  )
}

/** @throws PciError `pci.iova-reserved` when any of the bytes is out of the IOMMU's reach, or reserved */
export function checkIova(info: IommuInfo, at: number, length: number): void {
  const start = BigInt(at)
  const end = start + BigInt(length) - 1n
  const unit = BigInt(info.pageLength)
  const fits = usableRanges(info).some((range) => start >= range.start && end <= range.end)
  if (fits && start % unit === 0n) return
  throw new PciError(
    'pci.iova-reserved',
    `memory cannot be at the device addresses ${hex(start)} to ${hex(end)}: ` +
      `the IOMMU takes multiples of ${info.pageLength} within ${describeRanges(info)}, and the rest is reserved; choose another address, or none`,
  )
}

function describeRanges(info: IommuInfo): string {
  return usableRanges(info)
    .map(({ start, end }) => `${hex(start)}-${hex(end)}`)
    .join(', ')
}

const hex = (value: bigint): string => `0x${value.toString(16)}`
