import type { DeviceMemory } from '../device-memory.ts'
import { type MappedRegion, mapRegion, type RegionDescription } from './map-region.ts'
import { Refused } from './refused.ts'
import { VhostUserRules } from './vhost-user-rules.ts'

/** The front-end's memory: maps what it describes, translates its user addresses, and has the device see the rest. */
export class MemoryTable {
  readonly #memory: DeviceMemory
  readonly #slots: number
  #regions: readonly MappedRegion[] = []

  /** @param slots regions there may be */
  constructor(memory: DeviceMemory, slots: number) {
    this.#memory = memory
    this.#slots = slots
  }

  get regions(): readonly RegionDescription[] {
    return this.#regions.map(({ description }) => description)
  }

  /**
   * Puts these regions in place of all there were.
   * @param fds one for each, in order; they stay the caller's
   * @throws Refused with the table as it was
   */
  set(descriptions: readonly RegionDescription[], fds: readonly number[]): void {
    if (descriptions.length > this.#slots) throw tooMany(descriptions.length, this.#slots)
    const mapped: MappedRegion[] = []
    try {
      descriptions.forEach((description, n) => {
        refuseOverlap(description, descriptions.slice(0, n))
        mapped.push(mapRegion(description, fds[n] ?? -1))
      })
    } catch (error) {
      for (const region of mapped) unmap(region)
      throw error
    }
    const before = this.#regions
    this.#use(mapped)
    for (const region of before) unmap(region)
  }

  /** @throws Refused with the table as it was */
  add(description: RegionDescription, fd: number): void {
    if (this.#regions.length >= this.#slots) throw tooMany(this.#regions.length + 1, this.#slots)
    refuseOverlap(description, this.regions)
    this.#use([...this.#regions, mapRegion(description, fd)])
  }

  /** Takes out the region with this guest address, user address and size. @throws Refused when there is none */
  remove({ guestAddress, userAddress, size }: RegionDescription): void {
    const found = this.#regions.find(
      ({ description: other }) =>
        other.guestAddress === guestAddress && other.userAddress === userAddress && other.size === size,
    )
    if (!found)
      throw new Refused(VhostUserRules.MEMORY, `no region of ${size} bytes at 0x${guestAddress.toString(16)} to remove`)
    this.#use(this.#regions.filter((region) => region !== found))
    unmap(found)
  }

  /** Where the device sees the byte that the front-end has at this address; undefined when it has none there. */
  toDeviceAddress(userAddress: bigint): number | undefined {
    const region = this.regions.find(
      (one) => userAddress >= one.userAddress && userAddress < one.userAddress + one.size,
    )
    return region && Number(region.guestAddress + userAddress - region.userAddress)
  }

  /** Lets go of all memory. */
  release(): void {
    const before = this.#regions
    this.#use([])
    for (const region of before) unmap(region)
  }

  #use(regions: readonly MappedRegion[]): void {
    this.#regions = regions
    this.#memory.replace(regions.flatMap(({ blocks }) => blocks))
  }
}

function unmap({ mappings }: MappedRegion): void {
  for (const mapping of mappings) mapping.unmap()
}

function tooMany(count: number, slots: number): Refused {
  return new Refused(VhostUserRules.MEMORY, `${count} memory regions, where ${slots} are possible`)
}

function refuseOverlap(region: RegionDescription, others: readonly RegionDescription[]): void {
  for (const other of others) {
    for (const space of ['guestAddress', 'userAddress'] as const) {
      if (region[space] < other[space] + other.size && other[space] < region[space] + region.size)
        throw new Refused(
          VhostUserRules.MEMORY,
          `two memory regions overlap at ${space} 0x${region[space].toString(16)}`,
        )
    }
  }
}
