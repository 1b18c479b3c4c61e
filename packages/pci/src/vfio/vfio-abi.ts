/** Numbers of linux/vfio.h. Structures are described where they are written and read: `vfio-structs.ts`. */

/** What /dev/vfio/vfio must answer to `GET_API_VERSION`. */
export const VFIO_API_VERSION = 0

/** Requests of ioctl(2): `_IO(';', 100 + n)`, which say nothing of a structure's size. */
export const VfioIoctl = {
  GET_API_VERSION: 0x3b64,
  CHECK_EXTENSION: 0x3b65,
  SET_IOMMU: 0x3b66,
  GROUP_GET_STATUS: 0x3b67,
  GROUP_SET_CONTAINER: 0x3b68,
  GROUP_UNSET_CONTAINER: 0x3b69,
  GROUP_GET_DEVICE_FD: 0x3b6a,
  DEVICE_GET_INFO: 0x3b6b,
  DEVICE_GET_REGION_INFO: 0x3b6c,
  DEVICE_GET_IRQ_INFO: 0x3b6d,
  DEVICE_SET_IRQS: 0x3b6e,
  DEVICE_RESET: 0x3b6f,
  IOMMU_GET_INFO: 0x3b70,
  IOMMU_MAP_DMA: 0x3b71,
  IOMMU_UNMAP_DMA: 0x3b72,
} as const

/** Kinds of IOMMU driver a container can have. */
export const VfioIommu = {
  TYPE1: 1,
  TYPE1V2: 3,
  /** None: the device reaches all of physical memory. */
  NOIOMMU: 8,
} as const

export const VfioGroupFlag = { VIABLE: 1, CONTAINER_SET: 2 } as const

export const VfioDeviceFlag = { RESET: 1, PCI: 2 } as const

/** Regions of a PCI device; 0 to 5 are its base address registers. */
export const VfioRegion = { CONFIG: 7 } as const

export const VfioRegionFlag = { READ: 1, WRITE: 2, MMAP: 4, CAPS: 8 } as const

export const VfioRegionCapability = { SPARSE_MMAP: 1, MSIX_MAPPABLE: 3 } as const

/** Interrupts of a PCI device. */
export const VfioIrq = {
  INTX: 0,
  MSIX: 2,
  /** An error that the device cannot correct. */
  ERROR: 3,
  /** The kernel wants the device back. */
  REQUEST: 4,
} as const

export const VfioIrqSet = {
  DATA_NONE: 0x01,
  DATA_EVENTFD: 0x04,
  ACTION_MASK: 0x08,
  ACTION_UNMASK: 0x10,
  ACTION_TRIGGER: 0x20,
} as const

export const VfioIommuInfoFlag = { PAGE_SIZES: 1, CAPS: 2 } as const

export const VfioIommuCapability = { IOVA_RANGE: 1 } as const

export const VfioDmaFlag = { READ: 1, WRITE: 2 } as const
