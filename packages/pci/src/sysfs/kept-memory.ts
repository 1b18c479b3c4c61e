import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { hugePageFolder, physicalDma } from '@virtio-ts/memory/physical'
import type { ProvidedMemory } from '../address-space-memory.ts'

/**
 * Where a function's memory has its name, or undefined where huge pages cannot have one. A device without an IOMMU goes on
 * writing after its process was killed; pages with a name are nobody else's then.
 */
function nameOf(address: string): string | undefined {
  const folder = hugePageFolder()
  return folder === undefined ? undefined : join(folder, `virtio-ts-${address}`)
}

/** Memory that is kept from everybody else until it is unmapped: the device is to be no bus master by then. */
export function provideKeptMemory(length: number, address: string): ProvidedMemory {
  const path = nameOf(address)
  // What a predecessor left that was killed: this function is no bus master any more.
  freeKeptMemory(address)
  return { memory: physicalDma(length, path), unmap: () => freeKeptMemory(address) }
}

/**
 * Gives memory back that a killed process has left for its device. The device must have been stopped: reset, or driven
 * by a kernel driver again.
 * @param address e.g. `0000:00:04.0`
 */
export function freeKeptMemory(address: string): void {
  const path = nameOf(address)
  if (path !== undefined) rmSync(path, { force: true })
}
