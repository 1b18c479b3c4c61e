import { SystemError } from '@virtio-ts/native'
import type { RegisterFile } from '../file-bar.ts'
import { PciError } from '../pci-function.ts'
import { VfioDeviceFlag, VfioIoctl, VfioIrqSet } from './vfio-abi.ts'
import { describe } from './vfio-container.ts'
import type { VfioKernel } from './vfio-kernel.ts'
import { irqSet, parseRegionInfo, type RegionInfo, sized, VfioSize, word } from './vfio-structs.ts'

/** A function's VFIO descriptor: regions, interrupts, reset. */
export class VfioDevice {
  readonly fd: number
  readonly address: string
  readonly canReset: boolean
  readonly #kernel: VfioKernel

  /** @param fd stays the caller's to close @throws PciError `pci.no-vfio` when it is no PCI function's; SystemError */
  constructor(kernel: VfioKernel, fd: number, address: string) {
    this.#kernel = kernel
    this.fd = fd
    this.address = address
    const info = sized(VfioSize.DEVICE_INFO, 0)
    kernel.ioctl(fd, VfioIoctl.DEVICE_GET_INFO, info)
    const flags = word(info, 4)
    if ((flags & VfioDeviceFlag.PCI) === 0)
      throw new PciError(
        'pci.no-vfio',
        `VFIO does not show ${address} as a PCI function (flags ${flags}): bind it to vfio-pci`,
      )
    this.canReset = (flags & VfioDeviceFlag.RESET) !== 0
  }

  region(index: number): RegionInfo {
    const structure = sized(VfioSize.REGION_INFO, 0, index)
    return parseRegionInfo(describe(this.#kernel, this.fd, VfioIoctl.DEVICE_GET_REGION_INFO, structure))
  }

  /** The region as a file of its own. */
  file(region: RegionInfo): RegisterFile {
    return {
      readAt: (into, offset) => this.#kernel.readAt(this.fd, into, region.offset + offset),
      writeAt: (from, offset) => this.#kernel.writeAt(this.fd, from, region.offset + offset),
    }
  }

  /** Interrupts of a kind; 0 when the function has none of it. */
  irqCount(index: number): number {
    const structure = sized(VfioSize.IRQ_INFO, 0, index, 0)
    try {
      this.#kernel.ioctl(this.fd, VfioIoctl.DEVICE_GET_IRQ_INFO, structure)
    } catch (error) {
      // Kinds that this kernel or this function does not know.
      if (error instanceof SystemError && error.code === 'EINVAL') return 0
      throw error
    }
    return word(structure, 12)
  }

  /**
   * Has the kernel signal these eventfds, from the first interrupt of the kind on.
   * @returns 0, or how many interrupts there could be when there are too few
   * @throws SystemError
   */
  signal(index: number, fds: readonly number[]): number {
    const flags = VfioIrqSet.DATA_EVENTFD | VfioIrqSet.ACTION_TRIGGER
    return this.#kernel.ioctl(this.fd, VfioIoctl.DEVICE_SET_IRQS, irqSet(flags, index, fds.length, fds))
  }

  /** Takes the eventfds of a kind away, and switches it off. @throws SystemError */
  silence(index: number): void {
    const flags = VfioIrqSet.DATA_NONE | VfioIrqSet.ACTION_TRIGGER
    this.#kernel.ioctl(this.fd, VfioIoctl.DEVICE_SET_IRQS, irqSet(flags, index, 0))
  }

  /** Lets an interrupt through again that the kernel masked as it fired. @throws SystemError */
  unmask(index: number): void {
    const flags = VfioIrqSet.DATA_NONE | VfioIrqSet.ACTION_UNMASK
    this.#kernel.ioctl(this.fd, VfioIoctl.DEVICE_SET_IRQS, irqSet(flags, index, 1))
  }

  /** @throws SystemError `EINVAL` when the function has no reset */
  reset(): void {
    this.#kernel.ioctl(this.fd, VfioIoctl.DEVICE_RESET, 0)
  }
}
