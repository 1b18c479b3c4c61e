import type { DeviceModel } from './device-model.ts'
import type { DeviceMoments } from './device-profile.ts'
import { Rules } from './rules.ts'
import type { ViolationLog } from './violation-log.ts'

type Width = 1 | 2 | 4

/** The device configuration space in front of a model's `config` bytes: generation counter, access rules. */
export class DeviceConfigSpace {
  readonly #model: DeviceModel
  readonly #violations: ViolationLog
  #generation = 0
  /** The space has changed since any part of it was last read. */
  #changed = false

  constructor(model: DeviceModel, violations: ViolationLog) {
    this.#model = model
    this.#violations = violations
  }

  get length(): number {
    return this.#model.config.length
  }

  /** VIRTIO 1.3 § 4.1.4.3.1 "Device Requirements: Common configuration structure layout": config_generation. */
  get generation(): number {
    return this.#generation
  }

  markChanged(): void {
    this.#changed = true
  }

  /** @param legacy accesses of any width are fine, and answered as if each field were read by itself */
  read(offset: number, width: Width, legacy: boolean, show: (moment: DeviceMoments['config-read']) => void): number {
    const { config } = this.#model
    if (!legacy) this.#judge(offset, width, 'read')
    if (this.#changed) {
      // Counted when it is read, not when it changes: eight bits would wrap on a device that changes often.
      this.#generation = (this.#generation + 1) & 0xff
      this.#changed = false
    }
    const moment = {
      offset,
      width,
      config,
      value: read(config, offset, width),
      change: (at: number, bytes: Uint8Array): void => {
        config.set(bytes, at)
        this.#changed = true
      },
    }
    show(moment)
    return moment.value
  }

  write(offset: number, width: Width, value: number, legacy: boolean): void {
    if (!legacy) this.#judge(offset, width, 'written')
    if (offset + width > this.length) return
    const bytes = Uint8Array.from({ length: width }, (_, n) => (value >>> (8 * n)) & 0xff)
    if (this.#model.onConfigWrite?.(offset, bytes, legacy)) this.#changed = true
  }

  /** Whether the field at this offset may be written before the driver has said anything. */
  isEarly(offset: number): boolean {
    return this.#model.configFields.some((field) => field.early === true && field.offset === offset)
  }

  /** VIRTIO 1.3 § 4.1.3.1 "Driver Requirements: PCI Device Layout": each field in its own width. */
  #judge(offset: number, width: Width, verb: string): void {
    const field = this.#model.configFields.find(
      (candidate) => offset >= candidate.offset && offset < candidate.offset + candidate.width * (candidate.count ?? 1),
    )
    if (!field) return
    if (width !== field.width || (offset - field.offset) % width !== 0)
      this.#violations.record(
        Rules.PCI_LAYOUT,
        `${field.name}, ${field.width * 8} bits wide, ${verb} with ${width * 8} bits at ${offset}`,
      )
    const { features } = field
    if (features && !features.some((bit) => ((this.#model.features >> BigInt(bit)) & 1n) === 1n))
      this.#violations.record(
        Rules.CONFIG_SPACE,
        `${field.name} ${verb}, a field the device does not have without its feature`,
      )
  }
}

/** An access that is not wholly inside reads as all-ones, as on QEMU. */
function read(config: Uint8Array, offset: number, width: Width): number {
  if (offset + width > config.length) return width === 4 ? 0xffffffff : 2 ** (8 * width) - 1
  let value = 0
  for (let n = 0; n < width; n++) value += (config[offset + n] ?? 0) * 2 ** (8 * n)
  return value
}
