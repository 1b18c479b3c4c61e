import { type PciCapability, PciCapabilityId, walkCapabilities } from './capability-list.ts'
import type { PciConfigReader } from './pci-config.ts'
import { PciError } from './pci-function.ts'

/** A function's MSI-X capability: where the table of messages and the pending bits lie. Offsets in bytes. */
export interface MsixCapability {
  /** Of the capability, in configuration space. */
  readonly offset: number
  /** Vectors, 1 to 2048. */
  readonly tableSize: number
  readonly table: { readonly bar: number; readonly offset: number }
  readonly pendingBits: { readonly bar: number; readonly offset: number }
}

/** Registers of the capability, relative to its offset, and what the table's entries look like. */
export const Msix = {
  MESSAGE_CONTROL: 2,
  TABLE: 4,
  PENDING_BITS: 8,
  /** Bits of the message control register. */
  CONTROL_TABLE_SIZE: 0x07ff,
  CONTROL_FUNCTION_MASK: 0x4000,
  CONTROL_ENABLE: 0x8000,
  /** One table entry: message address (two halves), message data, vector control. */
  ENTRY_LENGTH: 16,
  ENTRY_ADDRESS: 0,
  ENTRY_ADDRESS_HIGH: 4,
  ENTRY_DATA: 8,
  ENTRY_CONTROL: 12,
  ENTRY_CONTROL_MASK: 1,
} as const

/**
 * The function's MSI-X capability, or undefined when it has none.
 * @param capabilities what `walkCapabilities` found, to spare a second walk
 * @throws PciError `pci.cap-bounds` when table or pending bits are said to lie in a BAR above 5; and as `walkCapabilities`
 */
export function findMsix(
  fn: PciConfigReader,
  capabilities: readonly PciCapability[] = walkCapabilities(fn),
): MsixCapability | undefined {
  const found = capabilities.find(({ id }) => id === PciCapabilityId.MSIX)
  if (!found) return undefined
  const { offset } = found
  return {
    offset,
    tableSize: (fn.configRead16(offset + Msix.MESSAGE_CONTROL) & Msix.CONTROL_TABLE_SIZE) + 1,
    table: place(fn.configRead32(offset + Msix.TABLE), 'table'),
    pendingBits: place(fn.configRead32(offset + Msix.PENDING_BITS), 'pending bits'),
  }
}

/** Whether MSI-X is switched on, whoever did it: a program that was killed leaves the bit set. */
export function isMsixEnabled(fn: PciConfigReader, msix: MsixCapability): boolean {
  return (fn.configRead16(msix.offset + Msix.MESSAGE_CONTROL) & Msix.CONTROL_ENABLE) !== 0
}

function place(register: number, what: string): { readonly bar: number; readonly offset: number } {
  const bar = register & 7
  if (bar > 5)
    throw new PciError(
      'pci.cap-bounds',
      `MSI-X: the ${what} should lie in BAR ${bar}, and there are only 0 to 5; the device is broken`,
    )
  return { bar, offset: (register & ~7) >>> 0 }
}
