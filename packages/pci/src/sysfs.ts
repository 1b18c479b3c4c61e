/**
 * PCI functions through Linux's sysfs, huge pages and physical addresses: for machines without an IOMMU. Nothing keeps the
 * device to the memory it was given.
 * @packageDocumentation
 */
import { join } from 'node:path'
import { SystemError } from '@virtio-ts/native'
import { AddressSpaceMemory, type ProvidedMemory } from './address-space-memory.ts'
import { DeviceDirectory } from './device-directory.ts'
import { noProtection } from './no-protection.ts'
import { formatAddress, parseAddress } from './pci-address.ts'
import { type DmaAddressSpace, PciError, type PciFunction } from './pci-function.ts'
import { ReleaseStack } from './release-stack.ts'
import { provideKeptMemory } from './sysfs/kept-memory.ts'
import { checkUnbound, isTranslated } from './sysfs/sysfs-checks.ts'
import { SysfsFunction } from './sysfs/sysfs-function.ts'
import { linuxSysfs, type SysfsSystem } from './sysfs/sysfs-system.ts'

export { freeKeptMemory } from './sysfs/kept-memory.ts'

export interface SysfsOptions {
  /** Memory for the device, in bytes, rounded up to whole huge pages. @defaultValue 64 MiB */
  readonly memory?: number
  /**
   * Which addresses the device takes. `auto`: its transport says so once it has read the device's features, and there is
   * no memory before. Otherwise memory is there at once, and a device that takes the other kind is refused.
   * @defaultValue 'auto'
   */
  readonly addressSpace?: DmaAddressSpace | 'auto'
  /** Told what is dangerous about this: that no IOMMU protects this machine's memory from the device. */
  readonly onWarning?: (message: string) => void
}

const DEFAULT_MEMORY = 64 * 1024 * 1024

/**
 * Opens a function that no kernel driver has, or uio_pci_generic, which then brings its INTx interrupts. Needs root.
 * The device has not been reset.
 *
 * @param address e.g. `0000:00:04.0`
 * @returns the function, which the caller closes
 * @throws PciError `pci.address`, `pci.not-found`, `pci.driver-bound`, `pci.permission`; with an address space given also what
 * `setAddressSpace` throws
 */
export async function openSysfs(address: string, options: SysfsOptions = {}): Promise<PciFunction> {
  return openSysfsOn(linuxSysfs, provideKeptMemory, address, options)
}

/** For tests: `openSysfs` on another system, with other memory. */
export function openSysfsOn(
  system: SysfsSystem,
  provide: (length: number, address: string) => ProvidedMemory,
  address: string,
  options: SysfsOptions,
): PciFunction {
  const { memory: length = DEFAULT_MEMORY, addressSpace = 'auto', onWarning } = options
  if (!Number.isSafeInteger(length) || length < 1) throw new RangeError(`memory ${length} is not a number of bytes`)
  const directory = new DeviceDirectory(system.paths, formatAddress(parseAddress(address)))
  checkUnbound(directory)
  const releases = new ReleaseStack()
  try {
    const configFd = openConfig(system, directory)
    releases.add(() => system.close(configFd))
    if (directory.read('enable') === '0' && directory.write('enable', '1'))
      releases.add(() => void directory.write('enable', '0'))
    const openedFor = addressSpace === 'auto' ? undefined : addressSpace
    const memory = new AddressSpaceMemory(directory.address, openedFor, (space) => {
      if (space === 'bus') checkNotTranslated(directory)
      return provide(length, directory.address)
    })
    // Once the function is no bus master: that is given back before.
    releases.add(() => memory.unmap())
    const fn = new SysfsFunction({ system, directory, configFd, memory, releases })
    if (openedFor !== undefined) fn.setAddressSpace(openedFor)
    onWarning?.(noProtection(directory.address))
    return fn
  } catch (error) {
    releases.release()
    throw error
  }
}

function openConfig(system: SysfsSystem, directory: DeviceDirectory): number {
  const path = join(directory.path, 'config')
  try {
    return system.open(path)
  } catch (error) {
    if (!(error instanceof SystemError)) throw error
    throw new PciError(
      'pci.permission',
      `${directory.address} cannot be driven: ${error.message}. Run as root, where sysfs is writable (a container may have it read-only)`,
      { cause: error },
    )
  }
}

function checkNotTranslated(directory: DeviceDirectory): void {
  if (!isTranslated(directory)) return
  throw new PciError(
    'pci.address-space',
    `the device at ${directory.address} takes bus addresses (it offers ACCESS_PLATFORM), which an IOMMU translates, and sysfs has no say in ` +
      `that: the device would reach nothing. Take it through VFIO (vfio:${directory.address})`,
  )
}
