/**
 * PCI functions through Linux's VFIO: with an IOMMU that keeps the device to the memory it was given, and interrupts.
 * @packageDocumentation
 */
import { AddressSpaceMemory } from './address-space-memory.ts'
import { DeviceDirectory, linuxPaths } from './device-directory.ts'
import { noProtection } from './no-protection.ts'
import { formatAddress, parseAddress } from './pci-address.ts'
import type { DmaAddressSpace, PciFunction } from './pci-function.ts'
import { ReleaseStack } from './release-stack.ts'
import { VfioContainer, type VfioSystem } from './vfio/vfio-container.ts'
import { VfioDevice } from './vfio/vfio-device.ts'
import { VfioFunction } from './vfio/vfio-function.ts'
import { linuxVfio } from './vfio/vfio-kernel.ts'
import { provideVfioMemory } from './vfio/vfio-memory.ts'

export interface VfioOptions {
  /** Memory for the device, in bytes, rounded up to whole 2 MiB. Locked at once. @defaultValue 64 MiB */
  readonly memory?: number
  /**
   * Which addresses the device takes. `auto`: its transport says so once it has read the device's features, and there is
   * no memory before. Otherwise memory is there at once, and a device that takes the other kind is refused.
   * @defaultValue 'auto'
   */
  readonly addressSpace?: DmaAddressSpace | 'auto'
  /** Where the device is to see the memory, with bus addresses. @defaultValue the lowest place from 2 MiB on */
  readonly iova?: number
  /** Takes huge pages also for bus addresses. With physical ones it always does. @defaultValue false */
  readonly hugePages?: boolean
  /** Told in VFIO's no-IOMMU mode that nothing protects this machine's memory from the device. */
  readonly onWarning?: (message: string) => void
}

const DEFAULT_MEMORY = 64 * 1024 * 1024

const linux: VfioSystem = { kernel: linuxVfio, paths: linuxPaths }

/**
 * Opens a function that is bound to vfio-pci. The device has been reset by then, where it can be, and reaches no memory.
 *
 * @param address e.g. `0000:00:04.0`
 * @returns the function, which the caller closes
 * @throws PciError `pci.address`, `pci.not-found`, `pci.not-bound`, `pci.no-iommu-group`, `pci.no-vfio`, `pci.permission`, `pci.in-use`,
 * `pci.group-not-viable`; with an address space given also what `setAddressSpace` throws
 */
export async function openVfio(address: string, options: VfioOptions = {}): Promise<PciFunction> {
  return openVfioOn(linux, address, options)
}

/** For tests: `openVfio` on another kernel. */
export function openVfioOn(system: VfioSystem, address: string, options: VfioOptions): PciFunction {
  const { memory: length = DEFAULT_MEMORY, addressSpace = 'auto' } = options
  if (!Number.isSafeInteger(length) || length < 1) throw new RangeError(`memory ${length} is not a number of bytes`)
  const directory = new DeviceDirectory(system.paths, formatAddress(parseAddress(address)))
  const releases = new ReleaseStack()
  try {
    const container = VfioContainer.open(system, directory)
    releases.add(() => {
      const [failure] = container.close()
      if (failure) throw failure
    })
    const openedFor = addressSpace === 'auto' ? undefined : addressSpace
    const memory = new AddressSpaceMemory(directory.address, openedFor, (space) =>
      provideVfioMemory(container, space, {
        memory: length,
        iova: options.iova,
        hugePages: options.hugePages ?? false,
      }),
    )
    releases.add(() => memory.unmap())
    const fd = container.openDevice(directory.address)
    releases.add(() => system.kernel.close(fd))
    const device = new VfioDevice(system.kernel, fd, directory.address)
    const fn = new VfioFunction({ kernel: system.kernel, device, memory, releases })
    if (openedFor !== undefined) fn.setAddressSpace(openedFor)
    if (container.noIommu) options.onWarning?.(noProtection(directory.address))
    return fn
  } catch (error) {
    releases.release()
    throw error
  }
}
