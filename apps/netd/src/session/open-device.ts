import type { PciFunction } from '@virtio-ts/pci'
import type { SupportedLocator } from '../locator.ts'

/** A PCI function somebody opened for us, and how to let go of what carries it. */
export interface OpenDevice {
  readonly fn: PciFunction
  release(): Promise<void>
}

/**
 * Opens the function a locator names; what opens it is loaded only then.
 * @throws QemuError, NetdError
 */
export async function openDevice(locator: SupportedLocator): Promise<OpenDevice> {
  if (locator.scheme === 'qemu') return (await import('./open-bench.ts')).openBench(locator)
  return (await import('./open-model.ts')).openModel(locator)
}
