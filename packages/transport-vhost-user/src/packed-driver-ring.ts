import { PackedRing } from '@virtio-ts/spec'
import {
  areaView,
  collectChain,
  type DriverRing,
  type DriverRingOptions,
  type RingDescriptor,
  read64,
  type TakenChain,
} from './driver-ring.ts'

const { DESCRIPTOR_SIZE, DESC_LENGTH, DESC_ID, DESC_FLAGS, DESC_F_NEXT, DESC_F_WRITE, DESC_F_INDIRECT } = PackedRing
const { DESC_F_AVAIL, DESC_F_USED } = PackedRing

/**
 * The device's side of a packed ring. Its event suppression stays as the driver zeroed it: every notification is wanted.
 * @see VIRTIO 1.3 § 2.8 "Packed Virtqueues"
 */
export class PackedDriverRing implements DriverRing {
  readonly #size: number
  readonly #view: DriverRingOptions['view']
  readonly #ring: DataView
  readonly #words: Uint16Array
  #taken = 0
  #takenWrap = true
  #used = 0
  #usedWrap = true

  /** @throws RangeError when the ring is not in the driver's memory */
  constructor({ size, view, descriptorArea }: DriverRingOptions) {
    this.#size = size
    this.#view = view
    this.#ring = areaView(view, descriptorArea, DESCRIPTOR_SIZE * size)
    const { buffer, byteOffset, byteLength } = this.#ring
    this.#words = new Uint16Array(buffer, byteOffset, byteLength >> 1)
  }

  take(): TakenChain | undefined {
    const first = Atomics.load(this.#words, (DESCRIPTOR_SIZE * this.#taken + DESC_FLAGS) / 2)
    if (((first & DESC_F_AVAIL) !== 0) !== this.#takenWrap || ((first & DESC_F_USED) !== 0) === this.#takenWrap)
      return undefined
    const descriptors: RingDescriptor[] = []
    let position = this.#taken
    let count = 0
    for (;;) {
      const at = DESCRIPTOR_SIZE * position
      const flags = this.#ring.getUint16(at + DESC_FLAGS, true)
      // VIRTIO 1.3 § 2.8.19 "Driver Requirements: Indirect Descriptors": a table is a chain of its own.
      if (flags & DESC_F_INDIRECT && (count > 0 || flags & DESC_F_NEXT))
        throw new RangeError('an indirect table within a chain')
      descriptors.push(...this.#descriptors(at, flags))
      count++
      if ((flags & DESC_F_NEXT) === 0) break
      if (count === this.#size) throw new RangeError(`a chain of more than the ${this.#size} descriptors of the ring`)
      position = (position + 1) % this.#size
    }
    // The id is that of the last descriptor.
    const id = this.#ring.getUint16(DESCRIPTOR_SIZE * position + DESC_ID, true)
    const chain = collectChain(descriptors, this.#view)
    const next = this.#taken + count
    this.#taken = next % this.#size
    if (next >= this.#size) this.#takenWrap = !this.#takenWrap
    return { id, descriptors: count, ...chain }
  }

  use({ id, descriptors }: TakenChain, written: number): void {
    const at = DESCRIPTOR_SIZE * this.#used
    this.#ring.setUint16(at + DESC_ID, id, true)
    this.#ring.setUint32(at + DESC_LENGTH, written, true)
    const flags = (this.#usedWrap ? DESC_F_AVAIL | DESC_F_USED : 0) | (written > 0 ? DESC_F_WRITE : 0)
    Atomics.store(this.#words, (at + DESC_FLAGS) / 2, flags)
    const next = this.#used + descriptors
    this.#used = next % this.#size
    if (next >= this.#size) this.#usedWrap = !this.#usedWrap
  }

  /** What a descriptor of the ring stands for: itself, or the table it points to. */
  #descriptors(at: number, flags: number): readonly RingDescriptor[] {
    const address = read64(this.#ring, at)
    const length = this.#ring.getUint32(at + DESC_LENGTH, true)
    if ((flags & DESC_F_INDIRECT) === 0) return [{ address, length, isWritable: (flags & DESC_F_WRITE) !== 0 }]
    if (length === 0 || length % DESCRIPTOR_SIZE !== 0 || length > DESCRIPTOR_SIZE * this.#size)
      throw new RangeError(`an indirect table of ${length} bytes`)
    const table = areaView(this.#view, address, length)
    // In a table only the flag WRITE means something.
    return Array.from({ length: length / DESCRIPTOR_SIZE }, (_, i) => ({
      address: read64(table, DESCRIPTOR_SIZE * i),
      length: table.getUint32(DESCRIPTOR_SIZE * i + DESC_LENGTH, true),
      isWritable: (table.getUint16(DESCRIPTOR_SIZE * i + DESC_FLAGS, true) & DESC_F_WRITE) !== 0,
    }))
  }
}
