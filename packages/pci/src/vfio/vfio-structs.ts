import {
  VfioDmaFlag,
  VfioIommuCapability,
  VfioIommuInfoFlag,
  VfioRegionCapability,
  VfioRegionFlag,
} from './vfio-abi.ts'

/** Sizes in bytes of the structures of linux/vfio.h, without what may follow them. */
export const VfioSize = {
  GROUP_STATUS: 8,
  DEVICE_INFO: 20,
  REGION_INFO: 32,
  IRQ_INFO: 16,
  IRQ_SET: 20,
  IOMMU_INFO: 24,
  DMA_MAP: 32,
  DMA_UNMAP: 24,
} as const

export interface RegionInfo {
  readonly flags: number
  /** Bytes; 0 when there is no such region. */
  readonly size: number
  /** Where the region begins in the device's file. */
  readonly offset: number
  /** Stretches that can be mapped, where it says that not all of it can. */
  readonly mappable?: readonly { readonly offset: number; readonly length: number }[]
  /** True when even the MSI-X table's page can be mapped. */
  readonly msixMappable: boolean
}

/** Both ends belong to the range. */
export interface IovaRange {
  readonly start: bigint
  readonly end: bigint
}

export interface IommuInfo {
  /** Undefined from kernels before 5.4, which do not tell. */
  readonly ranges?: readonly IovaRange[]
  /** Bytes: the smallest page that can be mapped. */
  readonly pageLength: number
}

/** A structure that begins with its own size, as VFIO's do. */
export function sized(length: number, ...words: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, length, true)
  for (const [i, word] of words.entries()) view.setUint32(4 + 4 * i, word, true)
  return bytes
}

/** The 32-bit word at a byte offset. */
export function word(bytes: Uint8Array, offset: number): number {
  return viewOf(bytes).getUint32(offset, true)
}

/** `struct vfio_irq_set`: flags, index, start, count, and a descriptor for each where `fds` are given. */
export function irqSet(flags: number, index: number, count: number, fds: readonly number[] = []): Uint8Array {
  const bytes = sized(VfioSize.IRQ_SET + 4 * fds.length, flags, index, 0, count)
  const view = viewOf(bytes)
  for (const [i, fd] of fds.entries()) view.setInt32(VfioSize.IRQ_SET + 4 * i, fd, true)
  return bytes
}

/** `struct vfio_iommu_type1_dma_map`, readable and writable by the device. */
export function dmaMap(address: number, iova: number, length: number): Uint8Array {
  const bytes = sized(VfioSize.DMA_MAP, VfioDmaFlag.READ | VfioDmaFlag.WRITE)
  const view = viewOf(bytes)
  view.setBigUint64(8, BigInt(address), true)
  view.setBigUint64(16, BigInt(iova), true)
  view.setBigUint64(24, BigInt(length), true)
  return bytes
}

/** `struct vfio_iommu_type1_dma_unmap`. */
export function dmaUnmap(iova: number, length: number): Uint8Array {
  const bytes = sized(VfioSize.DMA_UNMAP, 0)
  const view = viewOf(bytes)
  view.setBigUint64(8, BigInt(iova), true)
  view.setBigUint64(16, BigInt(length), true)
  return bytes
}

/** Reads `struct vfio_region_info` and the capabilities behind it. */
export function parseRegionInfo(bytes: Uint8Array): RegionInfo {
  const view = viewOf(bytes)
  const flags = view.getUint32(4, true)
  const size = Number(view.getBigUint64(16, true))
  const offset = Number(view.getBigUint64(24, true))
  let mappable: { offset: number; length: number }[] | undefined
  let msixMappable = false
  const first = (flags & VfioRegionFlag.CAPS) === 0 ? 0 : view.getUint32(12, true)
  for (const { id, at } of capabilities(view, first)) {
    if (id === VfioRegionCapability.MSIX_MAPPABLE) msixMappable = true
    if (id === VfioRegionCapability.SPARSE_MMAP) {
      mappable = Array.from({ length: view.getUint32(at + 8, true) }, (_, area) => ({
        offset: Number(view.getBigUint64(at + 16 + 16 * area, true)),
        length: Number(view.getBigUint64(at + 24 + 16 * area, true)),
      }))
    }
  }
  return { flags, size, offset, msixMappable, ...(mappable !== undefined && { mappable }) }
}

/** Reads `struct vfio_iommu_type1_info` and the capabilities behind it. */
export function parseIommuInfo(bytes: Uint8Array): IommuInfo {
  const view = viewOf(bytes)
  const flags = view.getUint32(4, true)
  const pageSizes = (flags & VfioIommuInfoFlag.PAGE_SIZES) === 0 ? 0n : view.getBigUint64(8, true)
  // The lowest bit set; 4 KiB where nothing is said.
  const pageLength = pageSizes === 0n ? 4096 : Number(pageSizes & -pageSizes)
  const first = (flags & VfioIommuInfoFlag.CAPS) === 0 ? 0 : view.getUint32(16, true)
  for (const { id, at } of capabilities(view, first)) {
    if (id !== VfioIommuCapability.IOVA_RANGE) continue
    const ranges = Array.from({ length: view.getUint32(at + 8, true) }, (_, range) => ({
      start: view.getBigUint64(at + 16 + 16 * range, true),
      end: view.getBigUint64(at + 24 + 16 * range, true),
    }))
    return { ranges, pageLength }
  }
  return { pageLength }
}

/** `struct vfio_info_cap_header`: id, version, and where in the whole the next one is. */
function* capabilities(view: DataView, first: number): Generator<{ id: number; at: number }> {
  for (let at = first; at !== 0 && at + 8 <= view.byteLength; at = view.getUint32(at + 4, true)) {
    yield { id: view.getUint16(at, true), at }
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
