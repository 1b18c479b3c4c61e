import { PciConfig, type PciConfigReader, PciStatus } from './pci-config.ts'
import { PciError } from './pci-function.ts'

/** Capability IDs that this project meets. */
export const PciCapabilityId = {
  POWER_MANAGEMENT: 0x01,
  MSI: 0x05,
  VENDOR_SPECIFIC: 0x09,
  PCI_EXPRESS: 0x10,
  MSIX: 0x11,
  ADVANCED_FEATURES: 0x13,
} as const

/** One entry of a function's capability list. */
export interface PciCapability {
  readonly id: number
  /** Where in configuration space it begins, a multiple of 4 from 0x40. */
  readonly offset: number
  /**
   * Bytes that belong to it: what it says itself where its type has a length field (vendor-specific), what its type fixes
   * (power management, MSI-X, advanced features), and otherwise only the two bytes that every capability has. Never
   * reaches beyond configuration space.
   */
  readonly length: number
}

/** One at every place where a capability can begin: a list that goes on visits some place a second time. */
const MAX_CAPABILITIES = (PciConfig.LENGTH - PciConfig.HEADER_LENGTH) / 4

const fixedLengths: Readonly<Record<number, number>> = {
  [PciCapabilityId.POWER_MANAGEMENT]: 8,
  [PciCapabilityId.MSIX]: 12,
  [PciCapabilityId.ADVANCED_FEATURES]: 6,
}

/**
 * The capabilities of a function, in list order, which for virtio is the device's order of preference. The list comes from the
 * device: the walk is bounded, and never leaves configuration space.
 * @throws PciError `pci.cap-loop` when the list leads back into itself; `pci.cap-bounds` when a pointer is
 * unaligned or points outside 0x40 to 0xfc, or a capability reaches beyond the space; `pci.gone` when nothing answers
 */
export function walkCapabilities(fn: PciConfigReader): PciCapability[] {
  if (fn.configRead16(PciConfig.VENDOR_ID) === PciConfig.NO_VENDOR) {
    throw new PciError(
      'pci.gone',
      'no PCI function answers here (its vendor ID reads 0xffff): it was removed, or never was',
    )
  }
  if ((fn.configRead16(PciConfig.STATUS) & PciStatus.CAPABILITY_LIST) === 0) return []
  const capabilities: PciCapability[] = []
  let pointerAt: number = PciConfig.CAPABILITIES_POINTER
  for (let offset = fn.configRead8(pointerAt); offset !== 0; offset = fn.configRead8(pointerAt)) {
    checkPointer(offset, pointerAt)
    if (capabilities.length === MAX_CAPABILITIES) {
      throw new PciError(
        'pci.cap-loop',
        `the capability list does not end after the ${MAX_CAPABILITIES} that there is room for: it loops, by way of ${hex(offset)}; the device is broken`,
      )
    }
    capabilities.push(readCapability(fn, offset))
    pointerAt = offset + 1
  }
  return capabilities
}

function readCapability(fn: PciConfigReader, offset: number): PciCapability {
  const id = fn.configRead8(offset)
  const length = id === PciCapabilityId.VENDOR_SPECIFIC ? fn.configRead8(offset + 2) : (fixedLengths[id] ?? 2)
  if (offset + length > PciConfig.LENGTH) {
    throw new PciError(
      'pci.cap-bounds',
      `the capability at ${hex(offset)} (ID ${hex(id)}) says it has ${length} bytes, which reach beyond configuration space; the device is broken`,
    )
  }
  return { id, offset, length }
}

function checkPointer(offset: number, pointerAt: number): void {
  if (offset >= PciConfig.HEADER_LENGTH && offset % 4 === 0) return
  const why = offset % 4 === 0 ? 'inside the header' : 'not a multiple of 4'
  throw new PciError(
    'pci.cap-bounds',
    `the capability pointer at ${hex(pointerAt)} is ${hex(offset)}, ${why}; the device is broken`,
  )
}

const hex = (value: number): string => `0x${value.toString(16).padStart(2, '0')}`
