/** What whoever opens a function without an IOMMU is to know. */
export function noProtection(address: string): string {
  return (
    `${address} is driven without an IOMMU: the device, or a mistake in its driver, can read and write all of this machine's memory, ` +
    'and goes on with it if this process is killed. VFIO with an IOMMU prevents both'
  )
}
