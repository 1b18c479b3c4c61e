import { type DescriptorChain, type DeviceMemory, DeviceSplitRing, type RingAddresses } from '@virtio-ts/device-models'
import { SplitRing } from '@virtio-ts/spec'
import type { AvailableChain, DeviceSide } from './device-side.ts'

export interface SplitDeviceSideOptions extends RingAddresses {
  readonly memory: DeviceMemory
  readonly size: number
  readonly indirect: boolean
  readonly eventIdx: boolean
  readonly startIndex?: number
}

/** The software devices' split ring in a test's hand. The owner calls `notified` for each available buffer notification. */
export class SplitDeviceSide implements DeviceSide {
  readonly idBits = 32
  readonly #memory: DeviceMemory
  readonly #ring: DeviceSplitRing
  readonly #device: DataView
  readonly #eventIdx: boolean
  readonly #held = new Map<number, DescriptorChain>()
  #notifications = 0
  #announced = false
  /** Elements written behind the ring's back. */
  #forged = 0

  constructor({ memory, eventIdx, ...options }: SplitDeviceSideOptions) {
    this.#memory = memory
    this.#eventIdx = eventIdx
    this.#ring = new DeviceSplitRing({
      ...options,
      memory,
      eventIndex: eventIdx,
      notify: () => {
        this.#announced = true
      },
    })
    const { buffer, byteOffset, byteLength } = this.#ring.deviceArea
    this.#device = new DataView(buffer, byteOffset, byteLength)
  }

  get notifications(): number {
    return this.#notifications
  }

  notified(): void {
    this.#notifications++
  }

  takeAvailable(): AvailableChain[] {
    const chains: AvailableChain[] = []
    for (let chain = this.#ring.take(); chain !== undefined; chain = this.#ring.take()) {
      this.#held.set(chain.head, chain)
      const buffers = [
        ...chain.readable.map((bytes) => ({ address: this.#addressOf(bytes), length: bytes.length, writable: false })),
        ...chain.writable.map((bytes) => ({ address: this.#addressOf(bytes), length: bytes.length, writable: true })),
      ]
      chains.push({ id: chain.head, buffers })
    }
    this.#throwViolations()
    return chains
  }

  putUsed(id: number, written: number): boolean {
    const chain = this.#held.get(id)
    if (chain === undefined || this.#forged > 0) {
      this.#forge(id, written)
      return false
    }
    this.#held.delete(id)
    this.#announced = false
    this.#ring.use(chain, written)
    this.#throwViolations()
    return this.#announced
  }

  suppressNotifications(): void {
    this.#ring.suppressNotifications()
    if (this.#eventIdx) this.#setAvailEvent(this.#ring.takenIndex + 0x8000)
  }

  requestNotification(after: number = 0): void {
    this.#ring.requestNotifications()
    if (this.#eventIdx) this.#setAvailEvent(this.#ring.takenIndex + after)
  }

  scribble(): void {
    this.#ring.scribble((offset) => (offset * 89 + 0xa5) & 0xff)
    this.#ring.driverArea.fill(0xa5, SplitRing.AVAIL_RING, SplitRing.AVAIL_RING + 2 * this.#ring.size)
  }

  jumpUsed(count: number): void {
    this.#forged += count
    this.#device.setUint16(SplitRing.USED_IDX, (this.#ring.usedIndex + this.#forged) & 0xffff, true)
  }

  #forge(id: number, written: number): void {
    const slot = (this.#ring.usedIndex + this.#forged) & (this.#ring.size - 1)
    const at = SplitRing.USED_RING + SplitRing.USED_ELEMENT_SIZE * slot
    this.#device.setUint32(at, id, true)
    this.#device.setUint32(at + 4, written, true)
    this.jumpUsed(1)
  }

  #setAvailEvent(index: number): void {
    const at = SplitRing.USED_RING + SplitRing.USED_ELEMENT_SIZE * this.#ring.size
    this.#device.setUint16(at, index & 0xffff, true)
  }

  #addressOf(bytes: Uint8Array): number {
    return this.#memory.addressOf(bytes)
  }

  #throwViolations(): void {
    const [violation] = this.#memory.violations.list
    if (violation) throw new Error(`VIRTIO § ${violation.section} "${violation.title}": ${violation.text}`)
    if (this.#ring.broken !== undefined) throw new Error(this.#ring.broken)
  }
}
