import { DeviceStatus, LegacyConfig as Legacy } from '@virtio-ts/spec'
import type { DeviceCore } from '../device-core.ts'
import type { DeviceQueue } from '../device-queue.ts'
import { Rules } from '../rules.ts'
import { readSize } from './common-registers.ts'
import type { RegisterBlock, Width } from './register-block.ts'
import { type RegisterField, RegisterFields } from './register-fields.ts'
import type { VectorRegisters } from './vector-registers.ts'

export interface LegacyRegistersOptions {
  readonly core: DeviceCore
  readonly vectors: VectorRegisters
  readonly readIsr: () => number
  /** Whether the two vector registers are there now: while MSI-X is enabled. */
  readonly vectorsShown: () => boolean
}

/**
 * The legacy interface in BAR 0.
 * @see VIRTIO 1.3 § 4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout"
 */
export class LegacyRegisters implements RegisterBlock {
  readonly length: number
  readonly #options: LegacyRegistersOptions
  readonly #header: RegisterFields
  #selected = 0

  constructor(options: LegacyRegistersOptions) {
    this.#options = options
    this.length = Legacy.DEVICE_CONFIG_MSIX + options.core.config.length
    const { core } = options
    this.#header = new RegisterFields(Legacy.DEVICE_CONFIG_MSIX, this.#fields(), {
      width: (field, width) =>
        core.violation(
          Rules.LEGACY_LAYOUT,
          `${field.name}, ${field.width * 8} bits wide, accessed with ${width * 8} bits`,
        ),
      readOnly: (field) => core.violation(Rules.LEGACY_LAYOUT, `${field.name} is read-only for the driver`),
    })
  }

  read(offset: number, width: Width): number {
    const start = this.#configStart()
    if (offset < start) return this.#header.read(offset, width)
    return this.#options.core.readConfig(offset - start, width, true)
  }

  write(offset: number, width: Width, value: number): void {
    const start = this.#configStart()
    if (offset < start) this.#header.write(offset, width, value)
    else this.#options.core.writeConfig(offset - start, width, value, true)
  }

  /** Once MSI-X is enabled the configuration moves on, and back when it is not: whether or not vectors are mapped. */
  #configStart(): number {
    return this.#options.vectorsShown() ? Legacy.DEVICE_CONFIG_MSIX : Legacy.DEVICE_CONFIG
  }

  #queue(): DeviceQueue | undefined {
    return this.#options.core.queues[this.#selected]
  }

  #fields(): RegisterField[] {
    const { core, vectors, readIsr } = this.#options
    return [
      {
        name: 'device features',
        offset: Legacy.DEVICE_FEATURES,
        width: 4,
        read: () => Number(core.readFeatures() & 0xffffffffn),
      },
      {
        name: 'driver features',
        offset: Legacy.DRIVER_FEATURES,
        width: 4,
        read: () => Number(core.features & 0xffffffffn),
        write: (value) => core.writeFeatures(BigInt(value), true),
      },
      {
        name: 'queue address',
        offset: Legacy.QUEUE_ADDRESS,
        width: 4,
        read: () => this.#queue()?.legacyPage ?? 0,
        write: (page) => this.#place(page),
      },
      {
        name: 'queue_size',
        offset: Legacy.QUEUE_SIZE,
        width: 2,
        read: () => readSize(core, this.#queue(), this.#selected),
      },
      {
        name: 'queue_select',
        offset: Legacy.QUEUE_SELECT,
        width: 2,
        read: () => this.#selected,
        write: (value) => {
          const moment = { previous: this.#selected, queue: value }
          core.show('queue-select', moment)
          this.#selected = moment.queue
        },
      },
      {
        name: 'queue notify',
        offset: Legacy.QUEUE_NOTIFY,
        width: 2,
        read: () => 0,
        write: (index) => core.notify(index),
      },
      {
        name: 'device status',
        offset: Legacy.DEVICE_STATUS,
        width: 1,
        read: () => core.readStatus(),
        write: (value) => {
          if ((value & DeviceStatus.DRIVER_OK) !== 0) vectors.judge()
          core.writeStatus(value, true)
        },
      },
      { name: 'ISR status', offset: Legacy.ISR_STATUS, width: 1, read: readIsr },
      {
        name: 'config_msix_vector',
        offset: Legacy.CONFIG_MSIX_VECTOR,
        width: 2,
        read: () => vectors.readConfiguration(),
        write: (value) => vectors.writeConfiguration(value),
      },
      {
        name: 'queue_msix_vector',
        offset: Legacy.QUEUE_MSIX_VECTOR,
        width: 2,
        read: () => vectors.readQueue(this.#queue()),
        write: (value) => vectors.writeQueue(this.#queue(), value),
      },
    ]
  }

  /** VIRTIO 1.3 § 4.1.5.1.3.1 "Legacy Interface: A Note on Virtqueue Configuration": the address in units of 4096 bytes. */
  #place(page: number): void {
    const { core } = this.#options
    const queue = this.#queue()
    if (page === 0) {
      const moment = { queue: this.#selected, resetDevice: true }
      core.show('queue-unmap', moment)
      if (moment.resetDevice) core.reset()
      else queue?.reset()
      return
    }
    if (!queue) return
    queue.legacyPage = page
    queue.enabled = true
    queue.stop()
  }
}
