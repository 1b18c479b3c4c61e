import { type PciBar, type PciCapability, PciCapabilityId, type PciFunction } from '@virtio-ts/pci'
import { CommonConfig, PciCapabilityType, VirtioError } from '@virtio-ts/spec'
import { toVirtioError } from './bus-error.ts'

/** Registers of one kind: `length` bytes from `offset` in a BAR, all of them inside it. */
export interface VirtioStructure {
  readonly bar: PciBar
  readonly offset: number
  readonly length: number
}

export interface NotifyStructure extends VirtioStructure {
  /** Bytes between two queue notify addresses, times queue_notify_off; 0: one address for all queues. */
  readonly multiplier: number
}

/** The structures of a modern device; `device` is left out where the device has no configuration. */
export interface VirtioStructures {
  readonly common: VirtioStructure
  readonly notify: NotifyStructure
  readonly isr: VirtioStructure
  readonly device?: VirtioStructure
}

/** Why a capability cannot be used. */
interface Rejection {
  readonly code: string
  readonly why: string
}

/** struct virtio_pci_cap: offsets in bytes. @see VIRTIO 1.3 § 4.1.4 "Virtio Structure PCI Capabilities" */
const Field = { TYPE: 3, BAR: 4, OFFSET: 8, LENGTH: 12, END: 16, NOTIFY_MULTIPLIER: 16, NOTIFY_END: 20 } as const

/** What each structure must have at least: bytes, alignment of its offset. */
const needs = {
  [PciCapabilityType.COMMON]: { name: 'common configuration', length: CommonConfig.MINIMUM_LENGTH, alignment: 4 },
  [PciCapabilityType.NOTIFY]: { name: 'notification', length: 2, alignment: 2 },
  [PciCapabilityType.ISR]: { name: 'ISR status', length: 1, alignment: 1 },
  [PciCapabilityType.DEVICE]: { name: 'device configuration', length: 1, alignment: 4 },
} as const

type StructureType = keyof typeof needs

/**
 * Finds the structures of a modern device: of each type the first that can be used, which is the device's order of preference.
 * Capabilities of other types, and those in a reserved BAR, are passed over.
 * @see VIRTIO 1.3 § 4.1.4.1 "Driver Requirements: Virtio Structure PCI Capabilities"
 * @returns undefined when there is none of these capabilities: a legacy device
 * @throws VirtioError when a structure is missing, or none of its type can be used: `transport.no-modern`,
 * `pci.bar-too-small`, `pci.no-bar`, `pci.cap-bounds`, `transport.misaligned`; the message names the capability
 */
export function findStructures(fn: PciFunction, capabilities: readonly PciCapability[]): VirtioStructures | undefined {
  const usable = new Map<number, NotifyStructure>()
  const rejected = new Map<number, Rejection>()
  for (const capability of capabilities) {
    if (capability.id !== PciCapabilityId.VENDOR_SPECIFIC) continue
    const type = fn.configRead8(capability.offset + Field.TYPE)
    if (!isStructureType(type) || usable.has(type)) continue
    const result = readStructure(fn, capability, type)
    if ('bar' in result) usable.set(type, result)
    else if (!rejected.has(type)) rejected.set(type, result)
  }
  if (usable.size === 0 && rejected.size === 0) return undefined
  const required = (type: StructureType): NotifyStructure => {
    const found = usable.get(type)
    if (found) return found
    throw missing(fn.address, type, rejected.get(type))
  }
  const device = rejected.has(PciCapabilityType.DEVICE)
    ? required(PciCapabilityType.DEVICE)
    : usable.get(PciCapabilityType.DEVICE)
  return {
    common: required(PciCapabilityType.COMMON),
    notify: required(PciCapabilityType.NOTIFY),
    isr: required(PciCapabilityType.ISR),
    ...(device && { device }),
  }
}

function readStructure(fn: PciFunction, capability: PciCapability, type: StructureType): NotifyStructure | Rejection {
  const at = `capability at 0x${capability.offset.toString(16)}`
  const end = type === PciCapabilityType.NOTIFY ? Field.NOTIFY_END : Field.END
  if (capability.length < end)
    return { code: 'pci.cap-bounds', why: `${at} has ${capability.length} bytes, its type needs ${end}` }
  const index = fn.configRead8(capability.offset + Field.BAR)
  if (index > 5) return { code: 'transport.no-modern', why: `${at} is in BAR ${index}, a reserved value` }
  const bar = openBar(fn, index)
  if ('code' in bar) return { code: bar.code, why: `${at} is in BAR ${index}: ${bar.message}` }
  const offset = fn.configRead32(capability.offset + Field.OFFSET)
  const length = fn.configRead32(capability.offset + Field.LENGTH)
  const { length: minimum, alignment } = needs[type]
  if (offset % alignment !== 0) {
    return {
      code: 'transport.misaligned',
      why: `${at} begins at offset ${offset}, which is not a multiple of ${alignment}`,
    }
  }
  // As plain numbers these cannot overflow, whatever the device wrote.
  if (offset + length > bar.length) {
    return {
      code: 'pci.bar-too-small',
      why: `${at} needs BAR ${index} up to byte ${offset + length}, and it has ${bar.length}`,
    }
  }
  if (length < minimum)
    return { code: 'pci.bar-too-small', why: `${at} is ${length} bytes long, ${minimum} are needed` }
  const multiplier =
    type === PciCapabilityType.NOTIFY ? fn.configRead32(capability.offset + Field.NOTIFY_MULTIPLIER) : 0
  if (multiplier % 2 !== 0)
    return { code: 'transport.misaligned', why: `${at} has notify_off_multiplier ${multiplier}, which is odd` }
  return { bar, offset, length, multiplier }
}

function openBar(fn: PciFunction, index: number): PciBar | VirtioError {
  try {
    return fn.bar(index)
  } catch (cause) {
    const error = toVirtioError(cause, fn.address)
    if (error.code === 'device.gone') throw error
    return error
  }
}

function isStructureType(type: number): type is StructureType {
  return type in needs
}

function missing(device: string, type: StructureType, rejection: Rejection | undefined): VirtioError {
  const what = `${device} cannot be driven through the modern interface: no usable ${needs[type].name} structure`
  return new VirtioError(
    rejection?.code ?? 'transport.no-modern',
    `${what} (${rejection?.why ?? 'there is no capability of this type'}); a transitional device may still work with interface: 'legacy'`,
    { device, detail: { structure: needs[type].name } },
  )
}
