import { pageLength } from '@virtio-ts/native'
import type { Decoding } from '../decoding.ts'
import { FileBar } from '../file-bar.ts'
import { MappedBar } from '../mapped-bar.ts'
import { Msix, type MsixCapability } from '../msix-capability.ts'
import { PciConfig, type PciConfigReader } from '../pci-config.ts'
import { type PciBar, PciError } from '../pci-function.ts'
import type { ReleaseStack } from '../release-stack.ts'
import { type MappedPart, SplitBar } from '../split-bar.ts'
import { VfioRegionFlag } from './vfio-abi.ts'
import type { VfioDevice } from './vfio-device.ts'
import type { VfioKernel } from './vfio-kernel.ts'
import type { RegionInfo } from './vfio-structs.ts'

const BAR_COUNT = 6
const KIND_IO = 1
/** A longer BAR than this is not mapped whole: no virtio device has one, and Node has no longer buffers. */
const LONGEST_MAPPING = 2 ** 32

export interface VfioBarsOptions {
  readonly kernel: VfioKernel
  readonly device: VfioDevice
  readonly config: PciConfigReader
  readonly msix: MsixCapability | undefined
  readonly decoding: Decoding
  /** Takes what gives each mapping back. */
  readonly releases: ReleaseStack
  readonly onFailure: (errno: number) => void
}

/** The base address registers of a function: mapped where that can be, each when it is first asked for. */
export class VfioBars {
  readonly #options: VfioBarsOptions
  readonly #bars = new Map<number, PciBar>()

  constructor(options: VfioBarsOptions) {
    this.#options = options
  }

  /** @throws PciError `pci.no-bar` */
  get(index: number): PciBar {
    let bar = this.#bars.get(index)
    if (bar === undefined) this.#bars.set(index, (bar = this.#open(index)))
    return bar
  }

  #open(index: number): PciBar {
    const { device, config, decoding, onFailure } = this.#options
    const valid = Number.isInteger(index) && index >= 0 && index < BAR_COUNT
    const region = valid ? device.region(index) : undefined
    if (region === undefined || region.size === 0)
      throw new PciError(
        'pci.no-bar',
        `${device.address} has no BAR ${index}; \`lspci -s ${device.address} -v\` lists them`,
      )
    const io = (config.configRead32(PciConfig.BAR0 + 4 * index) & KIND_IO) !== 0
    const place = { index, kind: io ? ('io' as const) : ('memory' as const), length: region.size }
    const byFile = new FileBar(place, device.file(region), decoding, onFailure)
    if (io || (region.flags & VfioRegionFlag.MMAP) === 0) return byFile
    const parts = this.#mappable(index, region).map(
      ({ offset, length }): MappedPart => ({ offset, bar: this.#map(index, region.offset + offset, length) }),
    )
    const [only] = parts
    if (only === undefined) return byFile
    return parts.length === 1 && only.bar.length === region.size ? only.bar : new SplitBar(byFile, parts)
  }

  #map(index: number, offset: number, length: number): MappedBar {
    const { kernel, device, decoding, releases } = this.#options
    const mapping = kernel.map(device.fd, length, offset)
    releases.add(() => mapping.unmap())
    return new MappedBar(index, mapping.bytes, decoding)
  }

  /** What of the BAR is mapped: not the pages of the MSI-X table, which is the kernel's to write. */
  #mappable(index: number, region: RegionInfo): { readonly offset: number; readonly length: number }[] {
    const { msix } = this.#options
    const areas = region.mappable ?? [{ offset: 0, length: region.size }]
    const page = pageLength()
    const table = msix !== undefined && msix.table.bar === index ? msix.table.offset : Number.POSITIVE_INFINITY
    const tableStart = Math.floor(table / page) * page
    const tableEnd = Math.ceil((table + (msix?.tableSize ?? 0) * Msix.ENTRY_LENGTH) / page) * page
    return areas
      .flatMap(({ offset, length }) => {
        const end = offset + length
        if (end <= tableStart || offset >= tableEnd) return [{ offset, length }]
        return [
          { offset, length: Math.max(0, tableStart - offset) },
          { offset: tableEnd, length: Math.max(0, end - tableEnd) },
        ]
      })
      .filter(({ length }) => length >= page && length < LONGEST_MAPPING)
  }
}
