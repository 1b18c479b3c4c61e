import { type InterruptVector, Msix, type MsixCapability, type PciBar } from '@virtio-ts/pci'
import { EventVector } from '@virtio-ts/pci/event-vector'
import type { FunctionConfig } from './function-config.ts'
import type { IvshmemVectors, MessageTarget } from './ivshmem-vectors.ts'

export interface MsixRoutesOptions {
  readonly config: FunctionConfig
  readonly capability: MsixCapability
  /** The BAR that holds the table. */
  readonly table: PciBar
  readonly source: IvshmemVectors
  /** At most the table's size and what the source has. */
  readonly count: number
}

/** A function's MSI-X table, its first entries aimed at descriptors, switched on for as long as this object is open. */
export class MsixRoutes {
  readonly vectors: readonly InterruptVector[]
  readonly #options: MsixRoutesOptions
  readonly #targets: readonly MessageTarget[]
  readonly #events: readonly EventVector[]
  #closed = false

  constructor(options: MsixRoutesOptions) {
    const { config, capability, source, count } = options
    this.#options = options
    this.#targets = source.acquire(count, () => config.present)
    // QEMU keeps its copy of each descriptor: they are the source's, and are used again
    this.#events = this.#targets.map(({ fd }) => new EventVector(fd, { ownsFd: false }))
    this.vectors = this.#events
    const control = capability.offset + Msix.MESSAGE_CONTROL
    // All masked while the table is written: no message leaves for half an address.
    config.change16(control, Msix.CONTROL_ENABLE | Msix.CONTROL_FUNCTION_MASK, 0)
    for (let entry = 0; entry < capability.tableSize; entry++) this.#aim(entry, this.#targets[entry])
    config.change16(control, 0, Msix.CONTROL_FUNCTION_MASK)
  }

  /**
   * Switches MSI-X off and gives the vectors back. Idempotent.
   * @param there false when the function is no longer there: another may be in its place
   */
  close(there: boolean): void {
    if (this.#closed) return
    this.#closed = true
    const { config, capability, source } = this.#options
    const control = capability.offset + Msix.MESSAGE_CONTROL
    if (there) config.change16(control, 0, Msix.CONTROL_ENABLE | Msix.CONTROL_FUNCTION_MASK)
    for (const event of this.#events) event.close()
    source.release(this.#targets)
  }

  /** Writes one entry of the table; without a target it is masked. */
  #aim(entry: number, target: MessageTarget | undefined): void {
    const { capability, table, source } = this.#options
    const offset = capability.table.offset + entry * Msix.ENTRY_LENGTH
    if (target !== undefined) {
      table.write32(offset + Msix.ENTRY_ADDRESS, source.address % 2 ** 32)
      table.write32(offset + Msix.ENTRY_ADDRESS_HIGH, Math.floor(source.address / 2 ** 32))
      table.write32(offset + Msix.ENTRY_DATA, target.data)
    }
    table.write32(offset + Msix.ENTRY_CONTROL, target === undefined ? Msix.ENTRY_CONTROL_MASK : 0)
  }
}
