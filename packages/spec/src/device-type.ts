/** Virtio device IDs. @see VIRTIO 1.3 § 5 "Device Types" */
export const DeviceType = {
  NETWORK: 1,
  BLOCK: 2,
  CONSOLE: 3,
  ENTROPY: 4,
  BALLOON: 5,
  SCSI: 8,
  NINE_P: 9,
  GPU: 16,
  INPUT: 18,
  VSOCK: 19,
  CRYPTO: 20,
  IOMMU: 23,
  MEMORY: 24,
  FILE_SYSTEM: 26,
  PMEM: 27,
} as const

export type DeviceTypeId = number

/** The specification's name of a device ID, in lower case; `device type N` for one this table does not know. */
export function deviceTypeName(id: DeviceTypeId): string {
  for (const [name, value] of Object.entries(DeviceType)) if (value === id) return name.toLowerCase().replace('_', '')
  return `device type ${id}`
}
