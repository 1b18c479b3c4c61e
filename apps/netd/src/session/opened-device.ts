import type { PciFunction } from '@virtio-ts/pci'

/** A PCI function somebody opened for us, and how to let go of what carries it. */
export interface OpenedDevice {
  readonly fn: PciFunction
  release(): Promise<void>
}
