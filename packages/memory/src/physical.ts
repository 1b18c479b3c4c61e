/**
 * Memory in huge pages with physical addresses: for devices that reach memory past any IOMMU.
 * @packageDocumentation
 */
import { rmSync } from 'node:fs'
import { close } from '@virtio-ts/native'
import { hugePageFile } from './huge-page-file.ts'
import { physicalAddress } from './page-map.ts'
import { PhysicalDma } from './physical-dma.ts'

export { hugePageFolder } from './huge-page-folder.ts'
export { PhysicalDma, type PhysicalRun } from './physical-dma.ts'

/**
 * An allocator over huge pages of the system's default size. All of them are taken at once. Needs CAP_SYS_ADMIN, without
 * which the kernel does not tell physical addresses.
 *
 * @param length bytes, rounded up to whole huge pages
 * @param path a name for them in `hugePageFolder()`: they stay taken until it is removed, also when this process is killed
 * @throws DmaError `memory.unavailable` when there are too few free huge pages, `memory.no-physical-address`
 */
export function physicalDma(length: number, path?: string): PhysicalDma {
  const file = hugePageFile(length, path)
  try {
    return new PhysicalDma(file, physicalAddress)
  } catch (error) {
    close(file.fd)
    if (path !== undefined) rmSync(path, { force: true })
    throw error
  }
}
