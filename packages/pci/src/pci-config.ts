import type { PciFunction } from './pci-function.ts'

/** The methods of a function that reach its configuration space: all that the parsers of this package need. */
export type PciConfigAccess = Pick<
  PciFunction,
  'configRead8' | 'configRead16' | 'configRead32' | 'configWrite8' | 'configWrite16' | 'configWrite32'
>

/** The reading half of `PciConfigAccess`. */
export type PciConfigReader = Pick<PciConfigAccess, 'configRead8' | 'configRead16' | 'configRead32'>

/** Registers of a type 0 configuration header: offsets in bytes. */
export const PciConfig = {
  VENDOR_ID: 0x00,
  DEVICE_ID: 0x02,
  COMMAND: 0x04,
  STATUS: 0x06,
  REVISION_ID: 0x08,
  CLASS_CODE: 0x09,
  HEADER_TYPE: 0x0e,
  BAR0: 0x10,
  SUBSYSTEM_VENDOR_ID: 0x2c,
  SUBSYSTEM_ID: 0x2e,
  CAPABILITIES_POINTER: 0x34,
  INTERRUPT_LINE: 0x3c,
  INTERRUPT_PIN: 0x3d,
  /** Where the header ends and capabilities may begin. */
  HEADER_LENGTH: 0x40,
  /** The part that every function has; PCI Express extends it to 4096 bytes, which capabilities of this list never use. */
  LENGTH: 0x100,
  /** What a vendor ID reads as where no function answers. */
  NO_VENDOR: 0xffff,
} as const

/** Bits of the command register. */
export const PciCommand = {
  IO_SPACE: 0x0001,
  MEMORY_SPACE: 0x0002,
  BUS_MASTER: 0x0004,
  INTX_DISABLE: 0x0400,
} as const

/** Bits of the status register. */
export const PciStatus = {
  INTERRUPT: 0x0008,
  CAPABILITY_LIST: 0x0010,
} as const
