import { PciConfig, type PciFunction } from '@virtio-ts/pci'
import { DeviceType, type DeviceTypeId, VirtioPci } from '@virtio-ts/spec'

/** What a PCI function's identifiers say about the virtio device behind it. */
export interface DeviceIdentity {
  readonly deviceType: DeviceTypeId
  /** True for an ID and revision that a legacy driver may drive. */
  readonly maybeLegacy: boolean
}

/** Transitional PCI device IDs. @see VIRTIO 1.3 § 4.1.2.1 "Device Requirements: PCI Device Discovery" */
const transitionalTypes: Readonly<Record<number, DeviceTypeId>> = {
  0x1000: DeviceType.NETWORK,
  0x1001: DeviceType.BLOCK,
  0x1002: DeviceType.BALLOON,
  0x1003: DeviceType.CONSOLE,
  0x1004: DeviceType.SCSI,
  0x1005: DeviceType.ENTROPY,
  0x1009: DeviceType.NINE_P,
}

const MODERN_DEVICE_ID_LAST = 0x107f

/**
 * Undefined when the function is no virtio device. Revision and subsystem are not looked at for that.
 * @see VIRTIO 1.3 § 4.1.2.2 "Driver Requirements: PCI Device Discovery"
 */
export function identifyDevice(fn: Pick<PciFunction, 'configRead8' | 'configRead16'>): DeviceIdentity | undefined {
  if (fn.configRead16(PciConfig.VENDOR_ID) !== VirtioPci.VENDOR_ID) return undefined
  const id = fn.configRead16(PciConfig.DEVICE_ID)
  if (id < VirtioPci.TRANSITIONAL_DEVICE_ID_FIRST || id > MODERN_DEVICE_ID_LAST) return undefined
  const transitional = id <= VirtioPci.TRANSITIONAL_DEVICE_ID_LAST
  // VIRTIO 1.3 § 4.1.2.3 "Legacy Interfaces: A Note on PCI Device Discovery": the subsystem device ID is the virtio device ID.
  const deviceType = transitional
    ? (transitionalTypes[id] ?? fn.configRead16(PciConfig.SUBSYSTEM_ID))
    : id - VirtioPci.MODERN_DEVICE_ID_BASE
  if (deviceType === 0) return undefined
  return { deviceType, maybeLegacy: transitional && fn.configRead8(PciConfig.REVISION_ID) === 0 }
}
