import { type DescriptorChain, type DeviceMemory, DevicePackedRing, type RingAddresses } from '@virtio-ts/device-models'
import { PackedRing } from '@virtio-ts/spec'
import type { AvailableChain, DeviceSide } from './device-side.ts'

export interface PackedDeviceSideOptions extends RingAddresses {
  readonly memory: DeviceMemory
  readonly size: number
  readonly indirect: boolean
  readonly eventIdx: boolean
}

/** The software devices' packed ring in a test's hand. The owner calls `notified` for each available buffer notification. */
export class PackedDeviceSide implements DeviceSide {
  readonly idBits = 16
  readonly #memory: DeviceMemory
  readonly #ring: DevicePackedRing
  readonly #descriptors: DataView
  readonly #eventIdx: boolean
  readonly #held = new Map<number, DescriptorChain>()
  #notifications = 0
  #announced = false
  /** Used descriptors written behind the ring's back. */
  #forged = 0

  constructor({ memory, eventIdx, ...options }: PackedDeviceSideOptions) {
    this.#memory = memory
    this.#eventIdx = eventIdx
    this.#ring = new DevicePackedRing({
      ...options,
      memory,
      eventIndex: eventIdx,
      notify: () => {
        this.#announced = true
      },
    })
    const { buffer, byteOffset, byteLength } = this.#ring.descriptorArea
    this.#descriptors = new DataView(buffer, byteOffset, byteLength)
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
  }

  requestNotification(after: number = 0): void {
    if (this.#eventIdx) this.#ring.requestNotificationAt(after)
    else this.#ring.requestNotifications()
  }

  /** Everything but the two bits by which both sides find their way. */
  scribble(): void {
    const { descriptorArea } = this.#ring
    this.#ring.scribble((offset) => {
      const garbage = (offset * 89 + 0xa5) & 0xff
      const isFlags = offset % PackedRing.DESCRIPTOR_SIZE >= PackedRing.DESC_FLAGS
      return isFlags ? (garbage & 0x7f) | ((descriptorArea[offset] ?? 0) & 0x80) : garbage
    })
  }

  #forge(id: number, written: number): void {
    const { slot, wrap } = this.#ring.usedPlace
    const { size } = this.#ring
    const next = slot + this.#forged++
    const counter = next < size ? wrap : wrap ^ 1
    const at = PackedRing.DESCRIPTOR_SIZE * (next % size)
    const both = counter === 1 ? PackedRing.DESC_F_AVAIL | PackedRing.DESC_F_USED : 0
    this.#descriptors.setUint16(at + PackedRing.DESC_ID, id, true)
    this.#descriptors.setUint32(at + PackedRing.DESC_LENGTH, written, true)
    this.#descriptors.setUint16(at + PackedRing.DESC_FLAGS, both | PackedRing.DESC_F_WRITE, true)
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
