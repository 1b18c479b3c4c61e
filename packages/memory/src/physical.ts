/**
 * Memory in huge pages with physical addresses: for devices that reach memory past any IOMMU.
 * @packageDocumentation
 */
import { close } from '@virtio-ts/native'
import { hugePageFile } from './huge-page-file.ts'
import { physicalAddress } from './page-map.ts'
import { PhysicalDma } from './physical-dma.ts'

export { PhysicalDma, type PhysicalRun } from './physical-dma.ts'

/**
 * An allocator over huge pages of the system's default size. All of them are taken at once. Needs CAP_SYS_ADMIN, without
 * which the kernel does not tell physical addresses.
 *
 * @param length bytes, rounded up to whole huge pages
 * @throws DmaError `memory.unavailable` when there are too few free huge pages, `memory.no-physical-address`
 */
export function physicalDma(length: number): PhysicalDma {
  const file = hugePageFile(length)
  try {
    return new PhysicalDma(file, physicalAddress)
  } catch (error) {
    close(file.fd)
    throw error
  }
}
