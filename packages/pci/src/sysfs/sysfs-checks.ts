import type { DeviceDirectory } from '../device-directory.ts'
import { PciError } from '../pci-function.ts'

/** The one kernel driver that leaves a function to its user, and hands its INTx line on. */
export const UIO_DRIVER = 'uio_pci_generic'

/** @throws PciError `pci.driver-bound` while a kernel driver has the function that is not `uio_pci_generic` */
export function checkUnbound(directory: DeviceDirectory): void {
  const { address, driver, path } = directory
  if (driver === undefined || driver === UIO_DRIVER) return
  const vfio = driver.includes('vfio') ? `, or take the function through VFIO (vfio:${address})` : ''
  throw new PciError(
    'pci.driver-bound',
    `the kernel's ${driver} has ${address}: two drivers on one device destroy each other's work. Unbind it first, as root: ` +
      `\`echo ${address} > ${path}/driver/unbind\`${vfio}`,
  )
}

/**
 * Whether an IOMMU stands between the function and memory, of whose mappings a program has no say: with bus addresses the
 * device would reach nothing.
 */
export function isTranslated(directory: DeviceDirectory): boolean {
  const { iommuGroup } = directory
  return iommuGroup !== undefined && !directory.isNoIommu && directory.read('iommu_group/type') !== 'identity'
}
