/**
 * Memory in huge pages, which another process can map: for DPDK back-ends, which are faster with it.
 * @packageDocumentation
 */
import { close } from '@virtio-ts/native'
import { hugePageFile } from './huge-page-file.ts'
import { MappedDma, type MappedDmaOptions } from './mapped-dma.ts'

export { MappedDma, type MappedDmaOptions } from './mapped-dma.ts'

/**
 * An allocator over huge pages of the system's default size. All of them are taken at once.
 *
 * @param length bytes, rounded up to whole huge pages
 * @throws DmaError `memory.unavailable` when there are too few free huge pages, or none on this kernel
 */
export function hugetlbDma(length: number, options: MappedDmaOptions = {}): MappedDma {
  const file = hugePageFile(length)
  try {
    return new MappedDma(file.fd, file.length, options)
  } catch (error) {
    close(file.fd)
    throw error
  }
}
