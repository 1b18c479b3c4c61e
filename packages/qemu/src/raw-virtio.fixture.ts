import { readFileSync } from 'node:fs'
import type { DmaRegion } from '@virtio-ts/memory'
import { type PciBar, type PciFunction, walkCapabilities } from '@virtio-ts/pci'

/** Just enough of a virtio driver, in bare numbers, to make a device do something. Modern interface, split ring. */
export class RawVirtio {
  readonly fn: PciFunction
  readonly common: Place
  readonly isr: Place
  readonly config: Place
  readonly #notify: Place
  readonly #notifyMultiplier: number

  constructor(fn: PciFunction) {
    this.fn = fn
    const places = new Map<number, { place: Place; at: number }>()
    for (const { id, offset } of walkCapabilities(fn)) {
      // the window through configuration space has no BAR
      if (id !== 9 || fn.configRead8(offset + 3) > 4) continue
      const place = { bar: fn.bar(fn.configRead8(offset + 4)), offset: fn.configRead32(offset + 8) }
      if (!places.has(fn.configRead8(offset + 3))) places.set(fn.configRead8(offset + 3), { place, at: offset })
    }
    const of = (type: number): { place: Place; at: number } => {
      const found = places.get(type)
      if (!found) throw new Error(`no virtio capability of type ${type}`)
      return found
    }
    this.common = of(1).place
    this.#notify = of(2).place
    this.#notifyMultiplier = fn.configRead32(of(2).at + 16)
    this.isr = of(3).place
    // the entropy device has none
    this.config = places.get(4)?.place ?? this.common
  }

  get status(): number {
    return this.common.bar.read8(this.common.offset + 20)
  }
  set status(value: number) {
    this.common.bar.write8(this.common.offset + 20, value)
  }

  readIsr(): number {
    return this.isr.bar.read8(this.isr.offset)
  }

  /** Reset to FEATURES_OK, with VERSION_1 and these bits of the lower 32. */
  begin(lowFeatures = 0): void {
    const { bar, offset } = this.common
    this.fn.setBusMaster(true)
    this.status = 0
    this.status = 1
    this.status = 3
    bar.write32(offset + 8, 0)
    bar.write32(offset + 12, lowFeatures)
    bar.write32(offset + 8, 1)
    bar.write32(offset + 12, 1)
    this.status = 11
    if (this.status !== 11) throw new Error(`features refused: status ${this.status}`)
  }

  /** @returns the vector as the device reads it back */
  setConfigVector(vector: number): number {
    this.common.bar.write16(this.common.offset + 16, vector)
    return this.common.bar.read16(this.common.offset + 16)
  }

  driverOk(): void {
    this.status = 15
  }

  /** Enables a queue of 8 descriptors. */
  queue(index: number, vector = 0xffff): RawQueue {
    const { bar, offset } = this.common
    bar.write16(offset + 22, index)
    bar.write16(offset + 24, 8)
    bar.write16(offset + 26, vector)
    const ring = this.fn.dma.allocate(4096, 4096)
    const areas = [0, 256, 512]
    for (const [i, area] of areas.entries()) {
      const address = ring.deviceAddress + area
      bar.write32(offset + 32 + 8 * i, address % 2 ** 32)
      bar.write32(offset + 36 + 8 * i, Math.floor(address / 2 ** 32))
    }
    const notifyOffset = bar.read16(offset + 30) * this.#notifyMultiplier
    bar.write16(offset + 28, 1)
    return new RawQueue(ring, () => this.#notify.bar.notify(this.#notify.offset + notifyOffset, index, 16))
  }
}

interface Place {
  readonly bar: PciBar
  readonly offset: number
}

export class RawQueue {
  readonly ring: DmaRegion
  readonly notify: () => void
  readonly #view: DataView
  #available = 0

  constructor(ring: DmaRegion, notify: () => void) {
    this.ring = ring
    this.notify = notify
    this.#view = new DataView(ring.bytes.buffer, ring.bytes.byteOffset, ring.length)
  }

  /** Makes one buffer available, in the descriptor of the next number, without notifying. */
  add(buffer: DmaRegion, deviceWrites: boolean): void {
    const slot = this.#available % 8
    this.#view.setBigUint64(16 * slot, BigInt(buffer.deviceAddress), true)
    this.#view.setUint32(16 * slot + 8, buffer.length, true)
    this.#view.setUint16(16 * slot + 12, deviceWrites ? 2 : 0, true)
    this.#view.setUint16(256 + 4 + 2 * slot, slot, true)
    this.#view.setUint16(256 + 2, ++this.#available & 0xffff, true)
  }

  get used(): number {
    return this.#view.getUint16(512 + 2, true)
  }

  /** Bytes that the device wrote for the n-th used buffer. */
  written(n: number): number {
    return this.#view.getUint32(512 + 4 + 8 * (n % 8) + 4, true)
  }
}

/** Waits on the event loop until something holds; the test's timeout bounds it. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** Whether a process is there (a zombie is not). */
export function alive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return false
  }
}
