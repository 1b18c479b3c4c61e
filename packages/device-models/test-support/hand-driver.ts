import type { DmaRegion } from '@virtio-ts/memory'
import type { PciBar } from '@virtio-ts/pci'
import type { ModelPciFunction } from '../src/pci/model-pci-function.ts'
import type { DeviceModel } from '../src/device-model.ts'
import { HandQueue } from './hand-queue.ts'

export interface Structure {
  bar: number
  offset: number
  length: number
  at: number
}

/** Walks the capability list by hand: vendor capabilities by cfg_type. */
export function structures(fn: ModelPciFunction<DeviceModel>): Map<number, Structure> {
  const found = new Map<number, Structure>()
  for (let at = fn.configRead8(0x34), n = 0; at !== 0 && n < 48; at = fn.configRead8(at + 1), n++) {
    if (fn.configRead8(at) !== 9) continue
    const type = fn.configRead8(at + 3)
    if (!found.has(type))
      found.set(type, {
        bar: fn.configRead8(at + 4),
        offset: fn.configRead32(at + 8),
        length: fn.configRead32(at + 12),
        at,
      })
  }
  return found
}

/** A driver of the modern interface in the plainest way: register offsets as literals. */
export class HandDriver<Model extends DeviceModel> {
  readonly fn: ModelPciFunction<Model>
  readonly common: Structure
  readonly commonBar: PciBar
  readonly structures: Map<number, Structure>
  readonly queues: HandQueue[] = []
  readonly multiplier: number

  constructor(fn: ModelPciFunction<Model>) {
    this.fn = fn
    this.structures = structures(fn)
    const common = this.structures.get(1)
    if (!common) throw new Error('no common configuration')
    this.common = common
    this.commonBar = fn.bar(common.bar)
    this.multiplier = fn.configRead32((this.structures.get(2)?.at ?? 0) + 16)
  }

  get8(offset: number): number {
    return this.commonBar.read8(this.common.offset + offset)
  }

  get16(offset: number): number {
    return this.commonBar.read16(this.common.offset + offset)
  }

  get32(offset: number): number {
    return this.commonBar.read32(this.common.offset + offset)
  }

  set8(offset: number, value: number): void {
    this.commonBar.write8(this.common.offset + offset, value)
  }

  set16(offset: number, value: number): void {
    this.commonBar.write16(this.common.offset + offset, value)
  }

  set32(offset: number, value: number): void {
    this.commonBar.write32(this.common.offset + offset, value)
  }

  get status(): number {
    return this.get8(20)
  }

  set status(value: number) {
    this.set8(20, value)
  }

  offered(): bigint {
    this.set32(0, 0)
    const low = this.get32(4)
    this.set32(0, 1)
    return BigInt(low) | (BigInt(this.get32(4)) << 32n)
  }

  accept(features: bigint): void {
    this.set32(8, 0)
    this.set32(12, Number(features & 0xffffffffn))
    this.set32(8, 1)
    this.set32(12, Number(features >> 32n))
  }

  /** Steps up to FEATURES_OK. @returns whether it stood */
  negotiate(features: bigint): boolean {
    this.fn.setBusMaster(true)
    this.status = 0
    while (this.status !== 0);
    this.status = 1
    this.status = 3
    this.accept(features)
    this.status = 11
    return (this.status & 8) !== 0
  }

  setUpQueue(index: number, size: number): HandQueue {
    const queue = new HandQueue(this.fn.dma, size)
    this.set16(22, index)
    this.set16(24, size)
    const { descriptorArea, driverArea, deviceArea } = queue.addresses
    ;[descriptorArea, driverArea, deviceArea].forEach((address, n) => {
      this.set32(32 + 8 * n, address % 2 ** 32)
      this.set32(36 + 8 * n, Math.floor(address / 2 ** 32))
    })
    this.set16(28, 1)
    this.queues[index] = queue
    return queue
  }

  /** The whole sequence: features, `count` queues of `size`, DRIVER_OK. */
  start(features: bigint, count: number, size = 8): HandQueue[] {
    if (!this.negotiate(features)) throw new Error('FEATURES_OK did not stand')
    for (let n = 0; n < count; n++) this.setUpQueue(n, size)
    this.status = 15
    return this.queues
  }

  notify(index: number): void {
    this.set16(22, index)
    const structure = this.structures.get(2)
    if (!structure) throw new Error('no notification structure')
    this.fn.bar(structure.bar).notify(structure.offset + this.get16(30) * this.multiplier, index, 16)
  }

  config8(offset: number): number {
    return this.#config().bar.read8(this.#config().at + offset)
  }

  config16(offset: number): number {
    return this.#config().bar.read16(this.#config().at + offset)
  }

  config32(offset: number): number {
    return this.#config().bar.read32(this.#config().at + offset)
  }

  #config(): { bar: PciBar; at: number } {
    const structure = this.structures.get(4)
    if (!structure) throw new Error('no device configuration')
    return { bar: this.fn.bar(structure.bar), at: structure.offset }
  }

  buffer(length: number, fill?: Uint8Array): DmaRegion {
    const region = this.fn.dma.allocate(length)
    if (fill) region.bytes.set(fill)
    return region
  }
}
