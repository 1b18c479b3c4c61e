import { SplitRing } from '@virtio-ts/spec'
import {
  areaView,
  collectChain,
  type DriverRing,
  type DriverRingOptions,
  type RingDescriptor,
  read64,
  type TakenChain,
} from './driver-ring.ts'

const { DESCRIPTOR_SIZE, DESC_F_NEXT, DESC_F_WRITE, DESC_F_INDIRECT, AVAIL_IDX, AVAIL_RING, USED_IDX, USED_RING } =
  SplitRing
const { USED_ELEMENT_SIZE } = SplitRing
const HEADER = 4
const LENGTH = 8
const FLAGS = 12
const NEXT = 14

/**
 * The device's side of a split ring. It asks for a notification of everything, with and without the event index.
 * @see VIRTIO 1.3 § 2.7 "Split Virtqueues"
 */
export class SplitDriverRing implements DriverRing {
  readonly #size: number
  readonly #view: DriverRingOptions['view']
  readonly #descriptors: DataView
  readonly #driver: DataView
  readonly #device: DataView
  readonly #driverWords: Uint16Array
  readonly #deviceWords: Uint16Array
  #taken = 0
  #used = 0

  /** @throws RangeError when an area is not in the driver's memory */
  constructor({ size, view, descriptorArea, driverArea, deviceArea }: DriverRingOptions) {
    this.#size = size
    this.#view = view
    this.#descriptors = areaView(view, descriptorArea, DESCRIPTOR_SIZE * size)
    this.#driver = areaView(view, driverArea, HEADER + 2 * size + 2)
    this.#device = areaView(view, deviceArea, HEADER + USED_ELEMENT_SIZE * size + 2)
    this.#driverWords = wordsOf(this.#driver)
    this.#deviceWords = wordsOf(this.#device)
  }

  take(): TakenChain | undefined {
    const waiting = (Atomics.load(this.#driverWords, AVAIL_IDX / 2) - this.#taken) & 0xffff
    if (waiting === 0) return undefined
    if (waiting > this.#size) throw new RangeError(`${waiting} chains available in a ring of ${this.#size}`)
    const id = this.#driver.getUint16(AVAIL_RING + 2 * (this.#taken % this.#size), true)
    if (id >= this.#size) throw new RangeError(`descriptor ${id} in a ring of ${this.#size}`)
    const chain = collectChain(this.#walk(this.#descriptors, id, true), this.#view)
    this.#taken = (this.#taken + 1) & 0xffff
    // With the event index: the driver notifies when it goes past this one. Without, nobody looks here.
    Atomics.store(this.#deviceWords, (USED_RING + USED_ELEMENT_SIZE * this.#size) / 2, this.#taken)
    return { id, descriptors: 1, ...chain }
  }

  use({ id }: TakenChain, written: number): void {
    const at = USED_RING + USED_ELEMENT_SIZE * (this.#used % this.#size)
    this.#device.setUint32(at, id, true)
    this.#device.setUint32(at + 4, written, true)
    this.#used = (this.#used + 1) & 0xffff
    Atomics.store(this.#deviceWords, USED_IDX / 2, this.#used)
  }

  /** The descriptors from `first` on; a table that an indirect one points to in its place. */
  #walk(table: DataView, first: number, mayBeIndirect: boolean): RingDescriptor[] {
    const count = table.byteLength / DESCRIPTOR_SIZE
    const found: RingDescriptor[] = []
    for (let index = first; ; ) {
      if (index >= count || found.length >= count) throw new RangeError(`a chain beyond its table of ${count}`)
      const at = DESCRIPTOR_SIZE * index
      const address = read64(table, at)
      const length = table.getUint32(at + LENGTH, true)
      const flags = table.getUint16(at + FLAGS, true)
      if (flags & DESC_F_INDIRECT) {
        if (!mayBeIndirect) throw new RangeError('an indirect table within an indirect table')
        return [...found, ...this.#walk(this.#table(address, length), 0, false)]
      }
      found.push({ address, length, isWritable: (flags & DESC_F_WRITE) !== 0 })
      if ((flags & DESC_F_NEXT) === 0) return found
      index = table.getUint16(at + NEXT, true)
    }
  }

  /**
   * VIRTIO 1.3 § 2.7.5.3.1 "Driver Requirements: Indirect Descriptors": no chain is longer than the ring.
   * @throws RangeError for a table that is none
   */
  #table(address: number, length: number): DataView {
    if (length === 0 || length % DESCRIPTOR_SIZE !== 0 || length > DESCRIPTOR_SIZE * this.#size)
      throw new RangeError(`an indirect table of ${length} bytes`)
    return areaView(this.#view, address, length)
  }
}

function wordsOf({ buffer, byteOffset, byteLength }: DataView): Uint16Array {
  return new Uint16Array(buffer, byteOffset, byteLength >> 1)
}
