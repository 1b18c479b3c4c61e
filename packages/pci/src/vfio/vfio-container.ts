import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SystemError } from '@virtio-ts/native'
import type { DeviceDirectory, SystemPaths } from '../device-directory.ts'
import { PciError } from '../pci-function.ts'
import { ReleaseStack } from '../release-stack.ts'
import { checkBinding, notViable, openError } from './group-errors.ts'
import { VFIO_API_VERSION, VfioGroupFlag, VfioIoctl, VfioIommu } from './vfio-abi.ts'
import type { VfioKernel } from './vfio-kernel.ts'
import { dmaMap, dmaUnmap, type IommuInfo, parseIommuInfo, sized, VfioSize, word } from './vfio-structs.ts'

/** Where VFIO is entered: its system calls and files. */
export interface VfioSystem {
  readonly kernel: VfioKernel
  readonly paths: SystemPaths
}

/** A container with one group in it: the address space that the group's functions have. */
export class VfioContainer {
  /** True when there is no IOMMU: nothing is mapped, and the device reaches all of memory. */
  readonly noIommu: boolean
  readonly #kernel: VfioKernel
  readonly #paths: SystemPaths
  readonly #fd: number
  readonly #group: number
  readonly #releases: ReleaseStack

  private constructor(system: VfioSystem, fd: number, group: number, noIommu: boolean, releases: ReleaseStack) {
    this.#kernel = system.kernel
    this.#paths = system.paths
    this.#fd = fd
    this.#group = group
    this.noIommu = noIommu
    this.#releases = releases
  }

  /**
   * Opens a container with the function's group in it, and gives it an IOMMU, or says that there is none.
   * @throws PciError `pci.not-bound`, `pci.no-iommu-group`, `pci.no-vfio`, `pci.permission`, `pci.in-use`, `pci.group-not-viable`
   */
  static open(system: VfioSystem, directory: DeviceDirectory): VfioContainer {
    const { kernel, paths } = system
    const group = checkBinding(directory)
    const releases = new ReleaseStack()
    const open = (path: string): number => {
      try {
        const fd = kernel.open(path)
        releases.add(() => kernel.close(fd))
        return fd
      } catch (error) {
        throw openError(error, path, directory)
      }
    }
    try {
      const fd = open(join(paths.dev, 'vfio/vfio'))
      const version = kernel.ioctl(fd, VfioIoctl.GET_API_VERSION, 0)
      if (version !== VFIO_API_VERSION) {
        throw new PciError(
          'pci.no-vfio',
          `the kernel's VFIO has version ${version} and this code knows ${VFIO_API_VERSION}`,
        )
      }
      const groupFd = open(join(paths.dev, 'vfio', directory.isNoIommu ? `noiommu-${group}` : group))
      const status = sized(VfioSize.GROUP_STATUS, 0)
      kernel.ioctl(groupFd, VfioIoctl.GROUP_GET_STATUS, status)
      if ((word(status, 4) & VfioGroupFlag.VIABLE) === 0) throw notViable(directory, group)
      kernel.ioctl(groupFd, VfioIoctl.GROUP_SET_CONTAINER, int(fd))
      releases.add(() => kernel.ioctl(groupFd, VfioIoctl.GROUP_UNSET_CONTAINER, 0))
      kernel.ioctl(fd, VfioIoctl.SET_IOMMU, chooseIommu(kernel, fd, directory))
      return new VfioContainer(system, fd, groupFd, directory.isNoIommu, releases)
    } catch (error) {
      releases.release()
      throw error
    }
  }

  /** A descriptor of the function itself, which is the caller's to close. @throws SystemError */
  openDevice(address: string): number {
    return this.#kernel.ioctl(this.#group, VfioIoctl.GROUP_GET_DEVICE_FD, new TextEncoder().encode(`${address}\0`))
  }

  iommuInfo(): IommuInfo {
    return parseIommuInfo(describe(this.#kernel, this.#fd, VfioIoctl.IOMMU_GET_INFO, sized(VfioSize.IOMMU_INFO, 0)))
  }

  /**
   * Lets the function reach memory of this process, which stays where it is from now on.
   * @param address of the memory in this process @param iova where the function sees it
   * @returns takes it away again
   * @throws PciError `pci.memory-locked` when this process may not lock so much; `pci.dma-map`
   */
  map(address: number, iova: number, length: number): () => void {
    try {
      this.#kernel.ioctl(this.#fd, VfioIoctl.IOMMU_MAP_DMA, dmaMap(address, iova, length))
    } catch (error) {
      throw this.#mapError(error, iova, length)
    }
    return () => void this.#kernel.ioctl(this.#fd, VfioIoctl.IOMMU_UNMAP_DMA, dmaUnmap(iova, length))
  }

  /** Lets container and group go, and with them every mapping. @returns what failed meanwhile */
  close(): Error[] {
    return this.#releases.release()
  }

  #mapError(error: unknown, iova: number, length: number): unknown {
    if (!(error instanceof SystemError)) return error
    if (error.code === 'ENOMEM') {
      return new PciError(
        'pci.memory-locked',
        `${length} bytes cannot be locked for the device: this process may lock ${lockedLimit(this.#paths)} in all. ` +
          `Raise the limit (\`ulimit -l ${Math.ceil(length / 1024) + 1024}\`, LimitMEMLOCK= of systemd), ask for less memory, or run as root`,
        { cause: error },
      )
    }
    return new PciError(
      'pci.dma-map',
      `the IOMMU does not map ${length} bytes at device address 0x${iova.toString(16)}: ${error.message}; choose another address, or other memory`,
      { cause: error },
    )
  }
}

/**
 * Calls a request twice where the kernel says that its answer is longer than the structure it was given.
 * @returns the structure and the capabilities behind it
 */
export function describe(kernel: VfioKernel, fd: number, request: number, structure: Uint8Array): Uint8Array {
  kernel.ioctl(fd, request, structure)
  const needed = word(structure, 0)
  if (needed <= structure.length) return structure
  const longer = new Uint8Array(needed)
  longer.set(structure)
  kernel.ioctl(fd, request, longer)
  return longer
}

function chooseIommu(kernel: VfioKernel, fd: number, directory: DeviceDirectory): number {
  const wanted = directory.isNoIommu ? [VfioIommu.NOIOMMU] : [VfioIommu.TYPE1V2, VfioIommu.TYPE1]
  const found = wanted.find((type) => kernel.ioctl(fd, VfioIoctl.CHECK_EXTENSION, type) === 1)
  if (found !== undefined) return found
  throw new PciError(
    'pci.no-vfio',
    `VFIO has no driver for the IOMMU of ${directory.address}: load it with \`modprobe vfio_iommu_type1\` (other kinds of IOMMU are not supported)`,
  )
}

/** `VFIO_GROUP_SET_CONTAINER` takes a pointer to the descriptor. */
function int(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer)
}

function lockedLimit(paths: SystemPaths): string {
  try {
    const limit = /^Max locked memory\s+(\S+)/m.exec(readFileSync(join(paths.proc, 'self/limits'), 'utf8'))?.[1]
    return limit === undefined ? 'an unknown number of bytes' : `${limit} bytes`
  } catch {
    return 'an unknown number of bytes'
  }
}
