/** A network interface of a function, which goes when netd takes the function, and comes back with it. */
export interface FunctionInterface {
  readonly name: string
  /** Whether a default route of this machine goes over it, or over what stands on it. */
  readonly defaultRoute: boolean
  readonly up: boolean
  /** `52:54:00:12:34:56` */
  readonly mac: string | null
  readonly mtu: number | null
  /** `10.0.2.15/24`; empty also where there is no ip(8) to ask. */
  readonly addresses: readonly string[]
  /** `default via 10.0.2.2`; those that come with an address are left out. */
  readonly routes: readonly string[]
}

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
  /** Other functions of its IOMMU group: no driver of the kernel may have one of them while netd has this one. */
  readonly groupMembers: readonly { readonly address: string; readonly driver: string | null }[]
  readonly interfaces: readonly FunctionInterface[]
  /** What netd took it from, and will give it back to; null when netd did not take it, or only root may know. */
  readonly taken: { readonly driver: string | null; readonly interfaces: readonly string[] } | null
  /** What netd would need before it could drive this function, in words; empty for other devices than network ones. */
  readonly needs: readonly string[]
}
