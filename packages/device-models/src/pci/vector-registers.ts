import { VirtioPci } from '@virtio-ts/spec'
import type { DeviceCore } from '../device-core.ts'
import type { DeviceQueue } from '../device-queue.ts'
import { Rules } from '../rules.ts'

const CONFIGURATION = -1

/**
 * Which MSI-X vector each event has, for the modern and the legacy registers alike.
 * @see VIRTIO 1.3 § 4.1.5.1.2 "MSI-X Vector Configuration"
 */
export class VectorRegisters {
  readonly #core: DeviceCore
  /** Vectors in the MSI-X table. */
  readonly #entries: number
  /** Events mapped by the driver that has not read back whether it worked. */
  readonly #unverified = new Set<number>()
  configuration: number = VirtioPci.NO_VECTOR

  constructor(core: DeviceCore, entries: number) {
    this.#core = core
    this.#entries = entries
  }

  reset(): void {
    this.configuration = VirtioPci.NO_VECTOR
    this.#unverified.clear()
  }

  readConfiguration(): number {
    this.#unverified.delete(CONFIGURATION)
    return this.configuration
  }

  writeConfiguration(value: number): void {
    this.configuration = this.#map(CONFIGURATION, value)
  }

  readQueue(queue: DeviceQueue | undefined): number {
    if (!queue) return VirtioPci.NO_VECTOR
    this.#unverified.delete(queue.index)
    return queue.vector
  }

  writeQueue(queue: DeviceQueue | undefined, value: number): void {
    if (queue) queue.vector = this.#map(queue.index, value)
  }

  /** VIRTIO 1.3 § 4.1.5.1.2.2 "Driver Requirements: MSI-X Vector Configuration": the driver reads back every mapping. */
  judge(): void {
    for (const index of this.#unverified)
      this.#core.violation(
        Rules.MSIX,
        `the vector of ${index === CONFIGURATION ? 'configuration changes' : `queue ${index}`} was not read back`,
      )
    this.#unverified.clear()
  }

  #map(index: number, requested: number): number {
    const valid = requested < this.#entries
    if (requested !== VirtioPci.NO_VECTOR) {
      this.#unverified.add(index)
      if (!valid) this.#core.violation(Rules.MSIX, `vector ${requested} mapped, of a table of ${this.#entries}`)
    }
    const moment = { queue: index, requested, vector: valid ? requested : VirtioPci.NO_VECTOR }
    this.#core.show('vector', moment)
    return moment.vector
  }
}
