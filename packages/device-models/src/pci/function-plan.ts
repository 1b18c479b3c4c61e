/** A vendor-specific capability that says where a virtio structure lies. */
export interface PlannedCapability {
  /** cfg_type. */
  type: number
  bar: number
  offset: number
  length: number
  /** cap_len. */
  capLength: number
  /** What follows struct virtio_pci_cap, e.g. notify_off_multiplier. */
  extra: Uint8Array
}

export interface PlannedBar {
  readonly kind: 'memory' | 'io'
  /** Bytes; a power of two. */
  length: number
  /** 64 bits wide: takes the next index too. */
  readonly wide: boolean
}

/** A PCI function about to be built, as it is going to present itself: for profiles to change. */
export interface FunctionPlan {
  deviceId: number
  revision: number
  classCode: number
  subsystemId: number
  /** In the order of the list; MSI-X comes after them. */
  capabilities: PlannedCapability[]
  readonly bars: Map<number, PlannedBar>
  /** Entries of the MSI-X table that the capability names; 0 for no capability. */
  msixEntries: number
  /** Changes to the finished configuration space. @param at where each capability begins, MSI-X last */
  readonly finish: ((space: Uint8Array, at: readonly number[]) => void)[]
}
