import type { DmaAllocator } from '@virtio-ts/memory'
import { type DmaAddressSpace, PciError } from './pci-function.ts'
import { type ClosableDma, RetiringDma } from './retiring-dma.ts'

/** Memory for one address space, and how the function's access to it ends. */
export interface ProvidedMemory {
  readonly memory: ClosableDma
  /** Takes the memory out of the function's reach. */
  readonly unmap: () => void
}

/** A function's memory, provided when it is known which addresses its device takes. */
export class AddressSpaceMemory {
  readonly #address: string
  readonly #openedFor: DmaAddressSpace | undefined
  readonly #provide: (space: DmaAddressSpace) => ProvidedMemory
  #current: { readonly space: DmaAddressSpace; readonly dma: RetiringDma; readonly unmap: () => void } | undefined

  /**
   * @param address of the function, for messages
   * @param openedFor the only address space there is to be; undefined when that is up to `set`
   * @param provide takes the memory, or throws what its owner is to be told
   */
  constructor(
    address: string,
    openedFor: DmaAddressSpace | undefined,
    provide: (space: DmaAddressSpace) => ProvidedMemory,
  ) {
    this.#address = address
    this.#openedFor = openedFor
    this.#provide = provide
  }

  /** @throws PciError `pci.address-space` while it is not known which addresses the device takes */
  get dma(): DmaAllocator {
    if (this.#current !== undefined) return this.#current.dma
    throw new PciError(
      'pci.address-space',
      `it is not known yet which addresses ${this.#address} takes: initialise its device first (its transport calls setAddressSpace), ` +
        "or open the function with addressSpace: 'bus' or 'physical'",
    )
  }

  /** @see PciFunction.setAddressSpace */
  set(space: DmaAddressSpace): void {
    const current = this.#current
    if (current?.space === space) return
    if (this.#openedFor !== undefined && space !== this.#openedFor) throw this.#mismatch(space)
    if (current !== undefined && current.dma.stats.allocatedRegions > 0) {
      throw new PciError(
        'pci.address-space',
        `${this.#address} still has memory with ${words[current.space]}: give its regions back before it changes to ${words[space]}`,
      )
    }
    this.unmap()
    this.retire()
    const { memory, unmap } = this.#provide(space)
    this.#current = { space, dma: new RetiringDma(memory), unmap }
  }

  /** Takes the memory out of the function's reach; it stays the driver's until `retire`. */
  unmap(): void {
    const current = this.#current
    if (current === undefined) return
    this.#current = { ...current, unmap: () => {} }
    current.unmap()
  }

  /** Nothing is handed out from now on; the memory goes with its last region. */
  retire(): void {
    this.#current?.dma.retire()
  }

  #mismatch(space: DmaAddressSpace): PciError {
    const says =
      space === 'bus'
        ? 'its device takes bus addresses (it offers ACCESS_PLATFORM)'
        : 'its device takes physical addresses, past any IOMMU (it does not offer ACCESS_PLATFORM)'
    return new PciError(
      'pci.address-space',
      `${this.#address} was opened for ${words[this.#openedFor as DmaAddressSpace]}, and ${says}: it would read and write memory that is ` +
        `somebody else's. Open it with addressSpace: '${space}', or leave the option out`,
    )
  }
}

const words: Readonly<Record<DmaAddressSpace, string>> = { bus: 'bus addresses', physical: 'physical addresses' }
