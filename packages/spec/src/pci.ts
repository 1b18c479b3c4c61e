/** Virtio over PCI: identifiers, capability types, register offsets in bytes. @see VIRTIO 1.3 § 4.1 "Virtio Over PCI Bus" */
export const VirtioPci = {
  VENDOR_ID: 0x1af4,
  /** Modern device ID = this + virtio device ID. */
  MODERN_DEVICE_ID_BASE: 0x1040,
  TRANSITIONAL_DEVICE_ID_FIRST: 0x1000,
  TRANSITIONAL_DEVICE_ID_LAST: 0x103f,
  NO_VECTOR: 0xffff,
  ISR_QUEUE: 1,
  ISR_CONFIG: 2,
} as const

/** @see VIRTIO 1.3 § 4.1.4 "Virtio Structure PCI Capabilities" */
export const PciCapabilityType = {
  COMMON: 1,
  NOTIFY: 2,
  ISR: 3,
  DEVICE: 4,
  PCI: 5,
  SHARED_MEMORY: 8,
  VENDOR: 9,
} as const

/** struct virtio_pci_common_cfg. @see VIRTIO 1.3 § 4.1.4.3 "Common configuration structure layout" */
export const CommonConfig = {
  DEVICE_FEATURE_SELECT: 0,
  DEVICE_FEATURE: 4,
  DRIVER_FEATURE_SELECT: 8,
  DRIVER_FEATURE: 12,
  CONFIG_MSIX_VECTOR: 16,
  NUM_QUEUES: 18,
  DEVICE_STATUS: 20,
  CONFIG_GENERATION: 21,
  QUEUE_SELECT: 22,
  QUEUE_SIZE: 24,
  QUEUE_MSIX_VECTOR: 26,
  QUEUE_ENABLE: 28,
  QUEUE_NOTIFY_OFF: 30,
  QUEUE_DESC: 32,
  QUEUE_DRIVER: 40,
  QUEUE_DEVICE: 48,
  QUEUE_NOTIF_CONFIG_DATA: 56,
  QUEUE_RESET: 58,
  /** Bytes every device has: up to and including queue_device. */
  MINIMUM_LENGTH: 56,
} as const

/** Registers of the legacy interface in BAR 0. @see VIRTIO 1.3 § 4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout" */
export const LegacyConfig = {
  DEVICE_FEATURES: 0,
  DRIVER_FEATURES: 4,
  QUEUE_ADDRESS: 8,
  QUEUE_SIZE: 12,
  QUEUE_SELECT: 14,
  QUEUE_NOTIFY: 16,
  DEVICE_STATUS: 18,
  ISR_STATUS: 19,
  /** These two exist only while MSI-X is enabled. */
  CONFIG_MSIX_VECTOR: 20,
  QUEUE_MSIX_VECTOR: 22,
  /** Device-specific configuration, MSI-X disabled / enabled. */
  DEVICE_CONFIG: 20,
  DEVICE_CONFIG_MSIX: 24,
  QUEUE_ADDRESS_SHIFT: 12,
} as const
