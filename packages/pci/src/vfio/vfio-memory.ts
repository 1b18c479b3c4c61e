import { hugetlbDma } from '@virtio-ts/memory/hugetlb'
import { memfdDma } from '@virtio-ts/memory/memfd'
import { physicalDma } from '@virtio-ts/memory/physical'
import type { ProvidedMemory } from '../address-space-memory.ts'
import type { DmaAddressSpace } from '../pci-function.ts'
import { ReleaseStack } from '../release-stack.ts'
import { checkIova, placeIova } from './iova-place.ts'
import type { VfioContainer } from './vfio-container.ts'

const HUGE_PAGE = 0x20_0000

export interface VfioMemoryOptions {
  /** Bytes. */
  readonly memory: number
  /** Where the device is to see the first byte, with bus addresses. */
  readonly iova: number | undefined
  readonly hugePages: boolean
}

/** Memory within the reach of a container's functions. */
export function provideVfioMemory(
  container: VfioContainer,
  space: DmaAddressSpace,
  options: VfioMemoryOptions,
): ProvidedMemory {
  // Without an IOMMU a bus address is a physical one.
  return space === 'physical' || container.noIommu ? physical(container, options) : translated(container, options)
}

/** One piece at small device addresses, which the IOMMU leads to this process's memory. */
function translated(container: VfioContainer, { memory: length, iova, hugePages }: VfioMemoryOptions): ProvidedMemory {
  const info = container.iommuInfo()
  const whole = Math.ceil(length / HUGE_PAGE) * HUGE_PAGE
  const deviceAddress = iova ?? placeIova(info, whole, HUGE_PAGE)
  checkIova(info, deviceAddress, whole)
  const memory = hugePages ? hugetlbDma(whole, { deviceAddress }) : memfdDma(whole, { deviceAddress })
  try {
    return { memory, unmap: container.map(memory.address, deviceAddress, memory.length) }
  } catch (error) {
    memory.close()
    throw error
  }
}

/**
 * Huge pages at their physical addresses. Where there is an IOMMU they are mapped at those, too: not for the device, whose
 * accesses go past it, but because VFIO then holds the pages where they are, beyond the end of this process, until the
 * device has been stopped.
 */
function physical(container: VfioContainer, { memory: length }: VfioMemoryOptions): ProvidedMemory {
  const memory = physicalDma(length)
  const mappings = new ReleaseStack()
  try {
    if (!container.noIommu) {
      for (const run of memory.runs) mappings.add(container.map(run.address, run.physicalAddress, run.length))
    }
    return {
      memory,
      unmap: () => {
        const [failure] = mappings.release()
        if (failure) throw failure
      },
    }
  } catch (error) {
    mappings.release()
    memory.close()
    throw error
  }
}
