/** A virtio PCI function of this machine, as `netd devices --json` prints it. */
export interface VirtioFunction {
  /** `0000:00:04.0` */
  readonly address: string
  readonly vendor: number
  readonly device: number
  readonly revision: number
  /** Virtio device ID; 1 is a network device. */
  readonly type: number
  /** `virtio-net` */
  readonly label: string
  /**
   * `modern` by its ID; among the older IDs `transitional` when it has virtio's capabilities and `legacy` when it has none.
   * Without privilege the kernel shows 64 bytes of the configuration space, and the two look the same: `transitional-or-legacy`.
   */
  readonly generation: 'modern' | 'transitional' | 'legacy' | 'transitional-or-legacy'
  /** Kernel driver that has it, `vfio-pci` among them. */
  readonly driver: string | null
  readonly iommuGroup: number | null
  /** Other functions of its IOMMU group, which would have to come along. */
  readonly groupMembers: readonly string[]
  readonly interfaces: readonly { readonly name: string; readonly defaultRoute: boolean; readonly up: boolean }[]
  /** What netd would need before it could drive this function, in words; empty for other devices than network ones. */
  readonly needs: readonly string[]
}
