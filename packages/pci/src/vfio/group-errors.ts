import { SystemError } from '@virtio-ts/native'
import type { DeviceDirectory } from '../device-directory.ts'
import { PciError } from '../pci-function.ts'
import { blocksGroup, isVfioDriver } from '../vfio-drivers.ts'

/** What a refused open of /dev/vfio/vfio or of a group's file means, and what helps. */
export function openError(error: unknown, path: string, directory: DeviceDirectory): unknown {
  if (!(error instanceof SystemError)) return error
  const { address } = directory
  switch (error.code) {
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      return new PciError(
        'pci.no-vfio',
        `${address} cannot be opened: there is no ${path}. Load VFIO with \`modprobe vfio-pci\`, or mount the file into this container`,
        { cause: error },
      )
    case 'EBUSY':
      return new PciError(
        'pci.in-use',
        `${address} is in use: another program, or another part of this one, has ${path} open. End it first (\`fuser -v ${path}\` says who it is)`,
        { cause: error },
      )
    case 'EACCES':
    case 'EPERM':
      return new PciError(
        'pci.permission',
        directory.isNoIommu
          ? `${address} has no IOMMU, and may be opened only with CAP_SYS_RAWIO: run as root`
          : `this process may not open ${path}: \`chown ${process.getuid?.() ?? 'USER'} ${path}\` as root lets it use ${address}; root may anyway`,
        { cause: error },
      )
    default:
      return error
  }
}

/**
 * The number of the function's IOMMU group.
 * @throws PciError `pci.no-iommu-group` when it has none, nor can get one; `pci.not-bound` unless a driver of VFIO has it
 */
export function checkBinding(directory: DeviceDirectory): string {
  const { address, driver, iommuGroup } = directory
  const bound = driver !== undefined && isVfioDriver(driver)
  // Without an IOMMU vfio-pci takes no function, unless it was told to do without: the group is then made at binding.
  if (iommuGroup === undefined && (bound || !directory.allowsNoIommu)) {
    throw new PciError(
      'pci.no-iommu-group',
      `${address} has no IOMMU group: this machine has no IOMMU, or it is off (kernel parameter intel_iommu=on or amd_iommu=on; for a ` +
        `virtual machine, add one to it). Without one, sysfs:${address} reaches the function, with no protection of memory`,
    )
  }
  if (bound && iommuGroup !== undefined) return iommuGroup
  const who = driver === undefined ? 'no driver' : `the kernel's ${driver}`
  throw new PciError(
    'pci.not-bound',
    `${address} is not bound to vfio-pci: it has ${who}. Bind it as root: \`echo vfio-pci > ${directory.path}/driver_override\`, ` +
      `${driver === undefined ? '' : `\`echo ${address} > ${directory.path}/driver/unbind\`, `}` +
      `\`echo ${address} > /sys/bus/pci/drivers_probe\` (and \`modprobe vfio-pci\` before, if it is not loaded)`,
  )
}

/** @throws PciError `pci.group-not-viable`: other functions of the group are still the kernel's */
export function notViable(directory: DeviceDirectory, group: string): PciError {
  const others = directory.groupMembers.filter(
    ({ address, driver }) => address !== directory.address && blocksGroup(driver),
  )
  const list = others.map(({ address, driver }) => `${address} (${driver})`).join(', ')
  return new PciError(
    'pci.group-not-viable',
    `IOMMU group ${group} of ${directory.address} cannot be taken: a kernel driver has other functions of it: ${list || 'which, it does not say'}. ` +
      'Functions of one group can reach each other past the IOMMU: unbind those, or bind them to vfio-pci too',
  )
}
