import { join } from 'node:path'
import { pageLength } from '@virtio-ts/native'
import type { Decoding } from '../decoding.ts'
import type { DeviceDirectory } from '../device-directory.ts'
import { FileBar } from '../file-bar.ts'
import { MappedBar } from '../mapped-bar.ts'
import { type PciBar, PciError } from '../pci-function.ts'
import type { ReleaseStack } from '../release-stack.ts'
import { parseResources, type SysfsResource } from './sysfs-resources.ts'
import type { SysfsSystem } from './sysfs-system.ts'

/** The base address registers of a function: files `resource0` to `resource5`, opened when first asked for. */
export class SysfsBars {
  readonly #system: SysfsSystem
  readonly #directory: DeviceDirectory
  readonly #decoding: Decoding
  readonly #releases: ReleaseStack
  readonly #onFailure: (errno: number) => void
  readonly #resources: readonly SysfsResource[]
  readonly #bars = new Map<number, PciBar>()

  constructor(
    system: SysfsSystem,
    directory: DeviceDirectory,
    decoding: Decoding,
    releases: ReleaseStack,
    onFailure: (errno: number) => void,
  ) {
    this.#system = system
    this.#directory = directory
    this.#decoding = decoding
    this.#releases = releases
    this.#onFailure = onFailure
    this.#resources = parseResources(directory.read('resource') ?? '')
  }

  /** @throws PciError `pci.no-bar`; SystemError when the kernel does not let it be mapped */
  get(index: number): PciBar {
    let bar = this.#bars.get(index)
    if (bar === undefined) this.#bars.set(index, (bar = this.#open(index)))
    return bar
  }

  #open(index: number): PciBar {
    const { address } = this.#directory
    const resource = this.#resources.find((candidate) => candidate.index === index)
    if (resource === undefined) {
      const there = this.#resources.map((candidate) => candidate.index).join(', ') || 'none'
      throw new PciError('pci.no-bar', `${address} has no BAR ${index}; it has ${there}`)
    }
    const fd = this.#system.open(join(this.#directory.path, `resource${index}`))
    this.#releases.add(() => this.#system.close(fd))
    if (resource.kind === 'memory') return this.#map(resource, fd)
    const file = {
      readAt: (into: Uint8Array, offset: number) => this.#system.readAt(fd, into, offset),
      writeAt: (from: Uint8Array, offset: number) => this.#system.writeAt(fd, from, offset),
    }
    return new FileBar(resource, file, this.#decoding, this.#onFailure)
  }

  #map({ index, start, length }: SysfsResource, fd: number): PciBar {
    const page = pageLength()
    // A BAR shorter than a page may begin in the middle of one.
    const within = start % page
    const mapping = this.#system.map(fd, Math.ceil((within + length) / page) * page)
    this.#releases.add(() => mapping.unmap())
    return new MappedBar(index, mapping.bytes.subarray(within, within + length), this.#decoding)
  }
}
