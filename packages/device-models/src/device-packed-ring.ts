import { PackedRing } from '@virtio-ts/spec'
import { BrokenChain } from './chain-reader.ts'
import type { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceRing, DeviceRingOptions, RingPosition, UsedElement } from './device-ring.ts'
import { PackedListReader } from './packed-list-reader.ts'
import { Rules, type SpecClause } from './rules.ts'

const { DESCRIPTOR_SIZE, DESC_LENGTH, DESC_ID, DESC_FLAGS, DESC_F_NEXT, DESC_F_WRITE, DESC_F_AVAIL, DESC_F_USED } =
  PackedRing
const { EVENT_SUPPRESSION_SIZE, EVENT_OFFSET_AND_WRAP, EVENT_FLAGS, EVENT_OFFSET_MASK, EVENT_WRAP } = PackedRing
const { EVENT_FLAGS_ENABLE, EVENT_FLAGS_DISABLE, EVENT_FLAGS_DESC } = PackedRing

/** A place in the ring: descriptor and wrap counter. */
interface Place {
  readonly slot: number
  readonly wrap: number
}

const START: Place = { slot: 0, wrap: 1 }

/**
 * The device half of a packed virtqueue, written from the specification alone. There is no index to publish: profiles are not shown
 * the moment `publish`.
 * @see VIRTIO 1.3 § 2.8 "Packed Virtqueues"
 */
export class DevicePackedRing implements DeviceRing {
  readonly size: number
  readonly queue: number
  readonly descriptorArea: Uint8Array
  readonly driverArea: Uint8Array
  readonly deviceArea: Uint8Array
  allowance: number = Number.POSITIVE_INFINITY
  readonly #options: DeviceRingOptions
  readonly #ring: DataView
  readonly #driver: DataView
  readonly #device: DataView
  readonly #reader: PackedListReader
  readonly #where: string
  /** Each descriptor as it was when it was taken. */
  readonly #seen: Uint8Array
  /** The next descriptor to read. */
  #taken: Place = START
  /** The next descriptor to write. */
  #used: Place = START
  /** Descriptors from there to the next one to read: those out with the device. */
  #out = 0
  #filled: UsedElement[] = []
  #broken: string | undefined
  #stopped = false

  /** @throws RangeError when a part is misplaced: not aligned, or outside the memory; recorded as a violation too */
  constructor(options: DeviceRingOptions) {
    const { size, memory } = options
    this.size = size
    this.queue = options.queue ?? 0
    this.#options = options
    this.#where = `queue ${this.queue}: `
    this.descriptorArea = this.#area('descriptor area', options.descriptorArea, size * DESCRIPTOR_SIZE, 16)
    this.driverArea = this.#area('driver area', options.driverArea, EVENT_SUPPRESSION_SIZE, 4)
    this.deviceArea = this.#area('device area', options.deviceArea, EVENT_SUPPRESSION_SIZE, 4)
    this.#ring = viewOf(this.descriptorArea)
    this.#driver = viewOf(this.driverArea)
    this.#device = viewOf(this.deviceArea)
    this.#seen = new Uint8Array(this.descriptorArea.length)
    const ring = this.#ring
    this.#reader = new PackedListReader({ memory, ring, size, indirect: options.indirect ?? false, where: this.#where })
    if (options.position !== undefined) {
      this.#taken = this.#placeAt(options.position.taken)
      this.#used = this.#placeAt(options.position.used)
      this.#out = (this.#taken.slot - this.#used.slot + size) % size
      if (this.#out === 0 && this.#taken.wrap !== this.#used.wrap) this.#out = size
      return
    }
    // VIRTIO 1.3 § 2.8.13 "The Virtqueue Descriptor Format": beyond what is available already the ring is zeroed.
    const { slots } = this.#waiting()
    if (this.descriptorArea.subarray(slots * DESCRIPTOR_SIZE).some((byte) => byte !== 0))
      this.#record(Rules.PACKED_DESCRIPTOR_FORMAT, 'the descriptor ring is not zeroed when the queue comes into use')
  }

  get broken(): string | undefined {
    return this.#broken
  }

  get position(): RingPosition {
    return { taken: wordOf(this.#taken), used: wordOf(this.#used) }
  }

  get available(): number {
    return this.#usable() ? this.#waiting().lists : 0
  }

  /** Where the device reads next. */
  get takenPlace(): Place {
    return this.#taken
  }

  /** Where the device writes next. */
  get usedPlace(): Place {
    return this.#used
  }

  take(): DescriptorChain | undefined {
    if (this.allowance <= 0) return undefined
    if (!this.#usable() || !this.#isWaiting()) return undefined
    const { slot, wrap } = this.#taken
    this.#readDriverEvents()
    try {
      const chain = this.#reader.read(slot, wrap, this.size - this.#out)
      for (const index of chain.descriptors) this.#seen.set(this.#descriptor(index), index * DESCRIPTOR_SIZE)
      this.#out += chain.descriptors.length
      this.#taken = this.#ahead(this.#taken, chain.descriptors.length)
      this.allowance--
      return chain
    } catch (error) {
      if (!(error instanceof BrokenChain)) throw error
      this.#break(error.rule, error.message.slice(this.#where.length))
      return undefined
    }
  }

  untake(chains: readonly DescriptorChain[]): void {
    for (const chain of chains) {
      this.#reader.release(chain)
      const count = chain.descriptors.length
      this.#out -= count
      const { slot, wrap } = this.#taken
      this.#taken = slot >= count ? { slot: slot - count, wrap } : { slot: slot - count + this.size, wrap: wrap ^ 1 }
    }
  }

  push(chain: DescriptorChain, written: number): void {
    if (this.#stopped) return
    this.#reader.release(chain)
    this.#filled.push({ id: chain.head, length: written, descriptors: chain.descriptors.length })
  }

  flush(): boolean {
    if (this.#stopped || this.#filled.length === 0 || this.#broken !== undefined) return false
    const { profile, device } = this.#options
    const elements = this.#filled
    this.#filled = []
    profile?.on?.('used', { ring: this, elements }, device)
    if (elements.length === 0) return false
    const before = this.#used
    const places: Place[] = []
    for (const { descriptors = 1 } of elements) {
      places.push(this.#used)
      this.#judgeUntouched(this.#used.slot, descriptors)
      this.#used = this.#ahead(this.#used, descriptors)
      this.#out -= descriptors
    }
    // VIRTIO 1.3 § 2.8.12 "Device Requirements: Virtqueues": descriptor writes may be reordered. The first one comes last: till then the
    // driver sees nothing of the rest.
    for (const [n, element] of [...elements.entries()].reverse()) this.#writeUsed(places[n] ?? before, element)
    if (!this.#wantsNotification(before)) return false
    this.#options.notify?.()
    return true
  }

  use(chain: DescriptorChain, written: number): void {
    this.push(chain, written)
    this.flush()
  }

  stop(): void {
    this.#stopped = true
  }

  scribble(value: (offset: number) => number): void {
    this.descriptorArea.forEach((_, offset) => {
      this.descriptorArea[offset] = value(offset)
    })
    this.#seen.set(this.descriptorArea)
  }

  suppressNotifications(): void {
    if (!this.#stopped) this.#writeEvents(EVENT_FLAGS_DISABLE, START)
  }

  requestNotifications(): boolean {
    if (this.#stopped) return false
    // Behind the newest: a device that waits for more than there is has seen those before it.
    if (this.#options.eventIndex) this.#writeEvents(EVENT_FLAGS_DESC, this.#ahead(this.#taken, this.#waiting().slots))
    else this.#writeEvents(EVENT_FLAGS_ENABLE, START)
    return this.allowance > 0 && this.#usable() && this.#isWaiting()
  }

  /** Asks for a notification once the driver makes the descriptor available that is `count` others behind the next one to take. */
  requestNotificationAt(count: number): void {
    if (!this.#stopped) this.#writeEvents(EVENT_FLAGS_DESC, this.#ahead(this.#taken, count))
  }

  /** VIRTIO 1.3 § 2.8.10 "Driver and Device Event Suppression" */
  #wantsNotification(before: Place): boolean {
    const { flags, place } = this.#readDriverEvents()
    if (flags !== EVENT_FLAGS_DESC) return flags !== EVENT_FLAGS_DISABLE
    for (let at = before; at.slot !== this.#used.slot || at.wrap !== this.#used.wrap; at = this.#ahead(at, 1))
      if (at.slot === place.slot && at.wrap === place.wrap) return true
    return false
  }

  /** VIRTIO 1.3 § 2.8.14 "Event Suppression Structure Format" */
  #readDriverEvents(): { flags: number; place: Place } {
    const flags = this.#driver.getUint16(EVENT_FLAGS, true)
    const where = this.#driver.getUint16(EVENT_OFFSET_AND_WRAP, true)
    const place = { slot: where & EVENT_OFFSET_MASK, wrap: (where & EVENT_WRAP) === 0 ? 0 : 1 }
    if (flags > EVENT_FLAGS_DESC)
      this.#record(Rules.PACKED_EVENTS, `the flags of the driver area are ${flags}, which is reserved`)
    else if (flags === EVENT_FLAGS_DESC && !this.#options.eventIndex)
      this.#record(Rules.PACKED_EVENTS, 'the driver area names a descriptor without EVENT_IDX')
    else if (flags === EVENT_FLAGS_DESC && place.slot >= this.size)
      this.#record(Rules.PACKED_EVENTS, `the driver area names descriptor ${place.slot} of a ring of ${this.size}`)
    return { flags, place }
  }

  #writeEvents(flags: number, place: Place): void {
    this.#device.setUint16(EVENT_OFFSET_AND_WRAP, wordOf(place), true)
    this.#device.setUint16(EVENT_FLAGS, flags, true)
  }

  #writeUsed({ slot, wrap }: Place, { id, length }: UsedElement): void {
    const at = slot * DESCRIPTOR_SIZE
    this.#ring.setUint16(at + DESC_ID, id & 0xffff, true)
    this.#ring.setUint32(at + DESC_LENGTH, length >>> 0, true)
    const both = wrap === 1 ? DESC_F_AVAIL | DESC_F_USED : 0
    // VIRTIO 1.3 § 2.8.3 "Write Flag"
    this.#ring.setUint16(at + DESC_FLAGS, both | (length > 0 ? DESC_F_WRITE : 0), true)
  }

  /** VIRTIO 1.3 § 2.8.16 "Driver Requirements: The Virtqueue Descriptor Table": not changed until the device has used it. */
  #judgeUntouched(from: number, count: number): void {
    for (let n = 0; n < count; n++) {
      const slot = (from + n) % this.size
      if (!this.#descriptor(slot).every((byte, i) => byte === this.#seen[slot * DESCRIPTOR_SIZE + i]))
        this.#record(Rules.PACKED_DESCRIPTOR_TABLE, `descriptor ${slot} was altered while the device had it`)
    }
  }

  #isWaiting(): boolean {
    return this.#out < this.size && this.#reader.isAvailable(this.#taken.slot, this.#taken.wrap)
  }

  /** Lists made available and not yet taken, and the descriptors they take. */
  #waiting(): { lists: number; slots: number } {
    let lists = 0
    let slots = 0
    let whole = 0
    for (let at = this.#taken; this.#out + slots < this.size; at = this.#ahead(at, 1)) {
      if (!this.#reader.isAvailable(at.slot, at.wrap)) break
      slots++
      if ((this.#reader.flags(at.slot) & DESC_F_NEXT) !== 0) continue
      lists++
      whole = slots
    }
    return { lists, slots: whole }
  }

  /** VIRTIO 1.3 § 2.8.1 "Driver and Device Ring Wrap Counters": each time the last descriptor is passed the counter changes. */
  #ahead({ slot, wrap }: Place, count: number): Place {
    const next = slot + count
    return next < this.size ? { slot: next, wrap } : { slot: next - this.size, wrap: wrap ^ 1 }
  }

  #descriptor(slot: number): Uint8Array {
    return this.descriptorArea.subarray(slot * DESCRIPTOR_SIZE, (slot + 1) * DESCRIPTOR_SIZE)
  }

  /** Whether the ring's own memory is still the device's to use: a driver may free it only after a reset. */
  #usable(): boolean {
    if (this.#stopped || this.#broken !== undefined) return false
    const { memory, descriptorArea, driverArea, deviceArea } = this.#options
    const there = (address: number): boolean => memory.reaches(address, 1, [this.#where, 'ring'])
    if (there(descriptorArea) && there(driverArea) && there(deviceArea)) return true
    this.#break(Rules.CLEANUP, 'the ring was freed while the device could still reach it')
    return false
  }

  /** @throws RangeError for a place the ring does not have */
  #placeAt(word: number): Place {
    const slot = word & EVENT_OFFSET_MASK
    if (slot >= this.size) throw new RangeError(`${this.#where}position ${slot} in a ring of ${this.size}`)
    return { slot, wrap: (word & EVENT_WRAP) === 0 ? 0 : 1 }
  }

  #area(what: string, address: number, length: number, alignment: number): Uint8Array {
    if (address % alignment !== 0)
      this.#record(
        Rules.PACKED_ALIGNMENT,
        `the ${what} at 0x${address.toString(16)} is not aligned to ${alignment} bytes`,
      )
    const bytes = this.#options.memory.bytes(address, length, [this.#where, what], Rules.PACKED_LAYOUT)
    if (!bytes) throw new RangeError(`${this.#where}the ${what} lies outside the memory the device can reach`)
    return bytes
  }

  #record(rule: SpecClause, text: string): void {
    this.#options.memory.violations.record(rule, this.#where + text)
  }

  #break(rule: SpecClause, text: string): void {
    this.#record(rule, text)
    if (this.#broken !== undefined) return
    this.#broken = text
    this.#options.onBroken?.(this.#where + text)
  }
}

/** A place in 16 bits, as the event suppression structures and vhost have it. */
function wordOf({ slot, wrap }: Place): number {
  return slot | (wrap === 1 ? EVENT_WRAP : 0)
}

function viewOf(area: Uint8Array): DataView {
  return new DataView(area.buffer, area.byteOffset, area.byteLength)
}
