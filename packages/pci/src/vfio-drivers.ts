/** Drivers that make no use of DMA: a group with them in it can still be given to user space. */
const harmless: ReadonlySet<string> = new Set(['pci-stub', 'pcieport', 'shpchp'])

/** vfio-pci, and those made for one kind of device, e.g. virtio-vfio-pci. */
export function isVfioDriver(driver: string): boolean {
  return driver === 'vfio-pci' || driver.endsWith('-vfio-pci') || driver.endsWith('_vfio_pci')
}

/** Whether a function that this driver has keeps the rest of its IOMMU group from user space; undefined: no driver has it. */
export function blocksGroup(driver: string | undefined): boolean {
  return driver !== undefined && !isVfioDriver(driver) && !harmless.has(driver)
}
