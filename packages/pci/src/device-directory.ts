import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, readlinkSync, writeSync } from 'node:fs'
import { basename, join } from 'node:path'
import { PciError } from './pci-function.ts'

/** Where the kernel's files are: elsewhere in tests. */
export interface SystemPaths {
  readonly sys: string
  readonly dev: string
  readonly proc: string
}

export const linuxPaths: SystemPaths = { sys: '/sys', dev: '/dev', proc: '/proc' }

export interface GroupMember {
  readonly address: string
  /** Name of the kernel driver that has it. */
  readonly driver: string | undefined
}

/** What the kernel says of a PCI function: its directory in sysfs. */
export class DeviceDirectory {
  readonly address: string
  readonly path: string
  readonly #paths: SystemPaths

  /** @param address as `formatAddress` spells it @throws PciError `pci.not-found` */
  constructor(paths: SystemPaths, address: string) {
    this.address = address
    this.#paths = paths
    this.path = join(paths.sys, 'bus/pci/devices', address)
    if (existsSync(this.path)) return
    throw new PciError(
      'pci.not-found',
      `there is no PCI function ${address} on this machine: check the address (lspci -D), or rescan the bus with \`echo 1 > /sys/bus/pci/rescan\``,
    )
  }

  /** Name of the kernel driver that has the function. */
  get driver(): string | undefined {
    return linkName(join(this.path, 'driver'))
  }

  /** Number of its IOMMU group. */
  get iommuGroup(): string | undefined {
    return linkName(join(this.path, 'iommu_group'))
  }

  /** True when the group is not an IOMMU's, but a stand-in of VFIO's no-IOMMU mode. */
  get isNoIommu(): boolean {
    return this.read('iommu_group/name') === 'vfio-noiommu'
  }

  /** True when VFIO was told to take functions without an IOMMU. */
  get allowsNoIommu(): boolean {
    const parameter = join(this.#paths.sys, 'module/vfio/parameters/enable_unsafe_noiommu_mode')
    return existsSync(parameter) && readFileSync(parameter, 'utf8').startsWith('Y')
  }

  /** The functions of its IOMMU group, itself among them. */
  get groupMembers(): GroupMember[] {
    const devices = join(this.path, 'iommu_group/devices')
    if (!existsSync(devices)) return []
    return readdirSync(devices)
      .sort()
      .map((address) => ({ address, driver: linkName(join(this.#paths.sys, 'bus/pci/devices', address, 'driver')) }))
  }

  /** A file of the directory, without the line's end; undefined when there is none. */
  read(name: string): string | undefined {
    try {
      return readFileSync(join(this.path, name), 'utf8').trim()
    } catch {
      return undefined
    }
  }

  /** Writes a file of the directory. @returns false when there is none, or the kernel refused */
  write(name: string, text: string): boolean {
    try {
      // For writing alone: some of the files, `reset` among them, do not open for reading.
      const file = openSync(join(this.path, name), constants.O_WRONLY)
      try {
        writeSync(file, text)
      } finally {
        closeSync(file)
      }
      return true
    } catch {
      return false
    }
  }

  /** Names in a directory of the directory; none when there is no such. */
  list(name: string): string[] {
    try {
      return readdirSync(join(this.path, name)).sort()
    } catch {
      return []
    }
  }
}

function linkName(path: string): string | undefined {
  try {
    return basename(readlinkSync(path))
  } catch {
    return undefined
  }
}
