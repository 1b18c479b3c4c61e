import { EventVector } from '@virtio-ts/pci/event-vector'
import { VirtioPci } from '@virtio-ts/spec'
import type { DeviceCore } from '../device-core.ts'
import type { DeviceQueue } from '../device-queue.ts'
import type { MsixTable } from './msix-table.ts'
import type { VectorRegisters } from './vector-registers.ts'

export interface InterruptLinesOptions {
  readonly table: MsixTable
  /** The MSI-X enable bit. */
  msixEnabled(): boolean
  /** The INTx disable bit of the command register. */
  intxDisabled(): boolean
  /** Whether the function has an INTx line. */
  readonly intx: boolean
  readonly configurationIsr: number
}

/** How a PCI function's interrupts go out: MSI-X messages, or ISR status and the INTx line. */
export class InterruptLines {
  readonly #options: InterruptLinesOptions
  #line: EventVector | undefined
  #isr = 0
  #asserted = false
  #sent = 0

  constructor(options: InterruptLinesOptions) {
    this.#options = options
  }

  /** Interrupts raised so far. */
  get sent(): number {
    return this.#sent
  }

  /** The level-triggered line; a signal stands for its rise. */
  get line(): EventVector | undefined {
    if (this.#options.intx) this.#line ??= new EventVector()
    return this.#line
  }

  /** Whether the line is up now. */
  get asserted(): boolean {
    return this.#asserted
  }

  get isr(): number {
    return this.#isr
  }

  /** VIRTIO 1.3 § 4.1.4.5.1 "Device Requirements: ISR status capability": reading resets it and lowers the line. */
  readIsr(): number {
    const isr = this.#isr
    this.#isr = 0
    this.update()
    return isr
  }

  used(core: DeviceCore, queue: DeviceQueue): void {
    this.#raise(core, queue.index, queue.vector, VirtioPci.ISR_QUEUE, false)
  }

  configChanged(core: DeviceCore, vectors: VectorRegisters): void {
    this.#raise(core, -1, vectors.configuration, this.#options.configurationIsr, true)
  }

  reset(): void {
    this.#isr = 0
    this.update()
  }

  /** Brings the line to where ISR status and the command register have it. */
  update(): void {
    const asserted =
      this.#options.intx && this.#isr !== 0 && !this.#options.msixEnabled() && !this.#options.intxDisabled()
    const rises = asserted && !this.#asserted
    this.#asserted = asserted
    if (rises) this.line?.signal()
    // The line is level-triggered: nothing is left to see once it is down.
    else if (!asserted) this.#line?.drain()
  }

  close(): void {
    this.#line?.close()
    this.#line = undefined
  }

  #raise(core: DeviceCore, queue: number, vector: number, isr: number, always: boolean): void {
    const moment = { queue, times: 1 }
    core.show('interrupt', moment)
    for (let n = 0; n < moment.times; n++) {
      this.#sent++
      const msix = this.#options.msixEnabled()
      // VIRTIO 1.3 § 4.1.4.5.1 "Device Requirements: ISR status capability": the configuration bit is set in any case.
      if (!msix || always) this.#isr |= isr
      // VIRTIO 1.3 § 4.1.5.3.1 "Device Requirements: Used Buffer Notifications": without a vector no interrupt.
      if (msix && vector !== VirtioPci.NO_VECTOR) this.#options.table.signal(vector)
      this.update()
    }
  }
}
