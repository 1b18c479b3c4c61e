import { Errno, eventfd, close, type Mapping, SystemError, write } from '@virtio-ts/native'
import { msixConfig } from '../fake-machine.fixture.ts'
import { VfioIoctl, VfioIrq } from './vfio-abi.ts'
import type { VfioKernel } from './vfio-kernel.ts'

export interface FakeRegion {
  readonly size: number
  readonly flags: number
  readonly sparse?: readonly (readonly [number, number])[]
  readonly msixMappable?: boolean
}

const REGION_SHIFT = 2 ** 40
const names = new Map<number, string>(Object.entries(VfioIoctl).map(([name, number]) => [number, name]))

/**
 * The kernel's side of VFIO, as linux/vfio.h has it, for one function with registers in memory. Every call is in `log`; `fail`
 * makes one of them fail.
 */
export class FakeVfio implements VfioKernel {
  readonly log: string[] = []
  readonly openFds = new Map<number, string>()
  readonly regions = new Map<number, FakeRegion>([
    [0, { size: 32, flags: 3 }],
    [1, { size: 0x1000, flags: 0xf, msixMappable: true }],
    [4, { size: 0x4000, flags: 7 }],
    [7, { size: 0x100, flags: 3 }],
  ])
  readonly contents = new Map<number, Uint8Array>()
  readonly irqs = new Map<number, number>([
    [VfioIrq.INTX, 1],
    [VfioIrq.MSIX, 4],
    [VfioIrq.REQUEST, 1],
  ])
  /** Eventfds by kind of interrupt. */
  readonly signals = new Map<number, number[]>()
  readonly mappings: { vaddr: number; iova: number; size: number }[] = []
  groupFlags = 1
  extensions: readonly number[] = [1, 3]
  deviceFlags = 3
  ranges: readonly (readonly [bigint, bigint])[] | undefined = [
    [0n, 0xfedf_ffffn],
    [0xfef0_0000n, 0x7f_ffff_ffffn],
  ]
  /** What the next call of this name fails with, e.g. `open /dev/vfio/7` or `IOMMU_MAP_DMA`. */
  fail: { readonly call: string; readonly errno: number } | undefined
  /** What SET_IRQS answers for MSI-X. */
  msixAnswer = 0
  liveMappings = 0

  constructor(config: Uint8Array = msixConfig(4)) {
    for (const [index, { size }] of this.regions) this.contents.set(index, new Uint8Array(size))
    this.contents.set(7, config.slice())
    this.contents.get(7)?.set([1, 0xc0, 0, 0], 0x10)
  }

  open(path: string): number {
    const short = path.replace(/^.*\/dev\//, '/dev/')
    this.#call(`open ${short}`)
    // A real descriptor, so that a number that is closed twice, or used afterwards, is noticed.
    const fd = eventfd()
    this.openFds.set(fd, short)
    return fd
  }

  close(fd: number): void {
    const name = this.openFds.get(fd)
    if (name === undefined) throw new Error(`closed twice: ${fd}`)
    this.log.push(`close ${name}`)
    this.openFds.delete(fd)
    close(fd)
  }

  ioctl(fd: number, request: number, argument: Uint8Array | number): number {
    const name = names.get(request) ?? String(request)
    if (!this.openFds.has(fd)) throw new SystemError(name, Errno.EBADF)
    const bytes = typeof argument === 'number' ? new Uint8Array(0) : argument
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#call(name, typeof argument === 'number' ? `${name} ${argument}` : this.#describe(name, view))
    switch (request) {
      case VfioIoctl.CHECK_EXTENSION:
        return this.extensions.includes(argument as number) ? 1 : 0
      case VfioIoctl.GROUP_GET_STATUS:
        view.setUint32(4, this.groupFlags, true)
        return 0
      case VfioIoctl.GROUP_GET_DEVICE_FD: {
        const device = eventfd()
        this.openFds.set(device, 'device')
        return device
      }
      case VfioIoctl.DEVICE_GET_INFO:
        view.setUint32(4, this.deviceFlags, true)
        return 0
      case VfioIoctl.DEVICE_GET_REGION_INFO:
        return this.#regionInfo(view)
      case VfioIoctl.DEVICE_GET_IRQ_INFO:
        view.setUint32(12, this.irqs.get(view.getUint32(8, true)) ?? 0, true)
        return 0
      case VfioIoctl.DEVICE_SET_IRQS:
        return this.#setIrqs(view)
      case VfioIoctl.IOMMU_GET_INFO:
        return this.#iommuInfo(view)
      case VfioIoctl.IOMMU_MAP_DMA:
        this.mappings.push({
          vaddr: Number(view.getBigUint64(8, true)),
          iova: Number(view.getBigUint64(16, true)),
          size: Number(view.getBigUint64(24, true)),
        })
        return 0
      case VfioIoctl.IOMMU_UNMAP_DMA: {
        const iova = Number(view.getBigUint64(8, true))
        const found = this.mappings.findIndex((mapping) => mapping.iova === iova)
        if (found === -1) throw new Error(`unmapped twice: ${iova}`)
        this.mappings.splice(found, 1)
        return 0
      }
      default:
        return 0
    }
  }

  readAt(_fd: number, into: Uint8Array, offset: number): number {
    if (this.fail?.call === 'read') return -this.fail.errno
    const index = Math.floor(offset / REGION_SHIFT)
    const at = offset % REGION_SHIFT
    if (index !== 7) this.log.push(`read${8 * into.length} region${index}+${at}`)
    into.set((this.contents.get(index) as Uint8Array).subarray(at, at + into.length))
    return into.length
  }

  writeAt(_fd: number, from: Uint8Array, offset: number): number {
    if (this.fail?.call === 'write') return -this.fail.errno
    const index = Math.floor(offset / REGION_SHIFT)
    const at = offset % REGION_SHIFT
    this.log.push(`write${8 * from.length} region${index}+${at} ${[...from].join(' ')}`)
    ;(this.contents.get(index) as Uint8Array).set(from, at)
    return from.length
  }

  map(_fd: number, length: number, offset: number): Mapping {
    const index = Math.floor(offset / REGION_SHIFT)
    const at = offset % REGION_SHIFT
    this.#call('mmap', `mmap region${index}+${at} ${length}`)
    this.liveMappings++
    return {
      bytes: (this.contents.get(index) as Uint8Array).subarray(at, at + length),
      address: 0,
      unmap: () => {
        this.log.push(`munmap region${index}+${at}`)
        this.liveMappings--
      },
    }
  }

  /** Fires an interrupt of a kind. */
  fire(index: number, vector = 0): void {
    const fd = this.signals.get(index)?.[vector]
    if (fd === undefined) throw new Error(`nobody listens to interrupt ${index}/${vector}`)
    write(fd, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
  }

  #call(name: string, text = name): void {
    this.log.push(text)
    if (this.fail?.call === name) throw new SystemError(name, this.fail.errno)
  }

  #describe(name: string, view: DataView): string {
    if (name !== 'DEVICE_SET_IRQS') return name
    const word = (at: number): number => view.getUint32(at, true)
    const fds = view.byteLength > 20 ? ` fds ${(view.byteLength - 20) / 4}` : ''
    return `${name} flags 0x${word(4).toString(16)} index ${word(8)} start ${word(12)} count ${word(16)}${fds}`
  }

  #setIrqs(view: DataView): number {
    const [flags, index, count] = [view.getUint32(4, true), view.getUint32(8, true), view.getUint32(16, true)]
    if (flags === 0x24) {
      if (index === VfioIrq.MSIX && this.msixAnswer > 0) return this.msixAnswer
      this.signals.set(
        index,
        Array.from({ length: count }, (_, i) => view.getInt32(20 + 4 * i, true)),
      )
    } else if (flags === 0x21) this.signals.delete(index)
    return 0
  }

  #regionInfo(view: DataView): number {
    const index = view.getUint32(8, true)
    const region = this.regions.get(index) ?? { size: 0, flags: 0 }
    const sparse = region.sparse ?? []
    const sparseLength = region.sparse === undefined ? 0 : 16 + 16 * sparse.length
    const needed = 32 + sparseLength + (region.msixMappable === true ? 8 : 0)
    view.setUint32(4, region.flags, true)
    view.setBigUint64(16, BigInt(region.size), true)
    view.setBigUint64(24, BigInt(index * REGION_SHIFT), true)
    if (view.byteLength < needed) {
      view.setUint32(0, needed, true)
      view.setUint32(12, 0, true)
      return 0
    }
    let at = 32
    view.setUint32(12, needed > 32 ? at : 0, true)
    if (region.sparse !== undefined) {
      view.setUint16(at, 1, true)
      view.setUint32(at + 4, region.msixMappable === true ? at + sparseLength : 0, true)
      view.setUint32(at + 8, sparse.length, true)
      for (const [i, [offset, size]] of sparse.entries()) {
        view.setBigUint64(at + 16 + 16 * i, BigInt(offset), true)
        view.setBigUint64(at + 24 + 16 * i, BigInt(size), true)
      }
      at += sparseLength
    }
    if (region.msixMappable === true) view.setUint16(at, 3, true)
    return 0
  }

  #iommuInfo(view: DataView): number {
    const ranges = this.ranges ?? []
    const needed = this.ranges === undefined ? 24 : 24 + 16 + 16 * ranges.length
    view.setUint32(4, this.ranges === undefined ? 1 : 3, true)
    view.setBigUint64(8, 0x4020_1000n, true)
    if (view.byteLength < needed) {
      view.setUint32(0, needed, true)
      return 0
    }
    if (this.ranges === undefined) return 0
    view.setUint32(16, 24, true)
    view.setUint16(24, 1, true)
    view.setUint32(32, ranges.length, true)
    for (const [i, [start, end]] of ranges.entries()) {
      view.setBigUint64(40 + 16 * i, start, true)
      view.setBigUint64(48 + 16 * i, end, true)
    }
    return 0
  }
}
