import { formatAddress, parseAddress } from './pci-address.ts'
import { type SysfsFiles, sysfsFiles } from './sysfs-files.ts'
import { blocksGroup } from './vfio-drivers.ts'

export interface IommuGroupMember {
  /** `0000:00:04.0` */
  readonly address: string
  /** The kernel driver that has it. */
  readonly driver: string | undefined
}

/** Functions the IOMMU cannot tell apart: they are given to user space together or not at all. */
export interface IommuGroup {
  readonly number: number
  /** The others in it, by address. */
  readonly others: readonly IommuGroupMember[]
}

/** The group a function is in; undefined where no IOMMU is in use, or there is no such function. @throws PciError `pci.address` */
export function iommuGroup(address: string, sysfs: SysfsFiles = sysfsFiles()): IommuGroup | undefined {
  const own = formatAddress(parseAddress(address))
  const directory = `bus/pci/devices/${own}/iommu_group`
  const number = Number(sysfs.linkName(directory) ?? Number.NaN)
  if (!Number.isInteger(number)) return undefined
  const others = sysfs
    .list(`${directory}/devices`)
    .filter((name) => name !== own)
    .map((name) => ({ address: name, driver: sysfs.linkName(`bus/pci/devices/${name}/driver`) }))
  return { number, others }
}

/** The others of a group that keep VFIO from opening it: those the kernel itself drives. */
export function iommuGroupBlockers(group: Pick<IommuGroup, 'others'>): readonly IommuGroupMember[] {
  return group.others.filter(({ driver }) => blocksGroup(driver))
}
