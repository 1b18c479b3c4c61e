import { SplitRing } from '@virtio-ts/spec'
import { BrokenChain, ChainReader } from './chain-reader.ts'
import type { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceRing, DeviceRingOptions, RingAddresses, RingPosition, UsedElement } from './device-ring.ts'
import { passesEvent } from './event-index.ts'
import { Rules, type SpecClause } from './rules.ts'

export interface DeviceSplitRingOptions extends DeviceRingOptions {
  readonly notifyOnEmpty?: boolean
  /** Where both free-running indexes begin. @defaultValue 0, as after every reset; other values are for tests near the wrap */
  readonly startIndex?: number
}

const HEADER = SplitRing.AVAIL_RING

/**
 * The device half of a split virtqueue, written from the specification alone.
 * @see VIRTIO 1.3 § 2.7 "Split Virtqueues"
 */
export class DeviceSplitRing implements DeviceRing {
  readonly size: number
  readonly queue: number
  readonly descriptorArea: Uint8Array
  readonly driverArea: Uint8Array
  readonly deviceArea: Uint8Array
  allowance: number = Number.POSITIVE_INFINITY
  readonly #options: DeviceSplitRingOptions
  readonly #driver: DataView
  readonly #device: DataView
  readonly #driverWords: Uint16Array | undefined
  readonly #deviceWords: Uint16Array | undefined
  readonly #reader: ChainReader
  readonly #where: string
  readonly #ring: readonly string[]
  #takenIndex = 0
  #usedIndex = 0
  #filled: UsedElement[] = []
  #broken: string | undefined
  #stopped = false

  /** @throws RangeError when a part is misplaced: not aligned, or outside the memory; recorded as a violation too */
  constructor(options: DeviceSplitRingOptions) {
    const { size, memory } = options
    this.size = size
    this.queue = options.queue ?? 0
    this.#options = options
    this.#where = `queue ${this.queue}: `
    this.#ring = [this.#where, 'ring']
    this.descriptorArea = this.#area('descriptor area', options.descriptorArea, size * SplitRing.DESCRIPTOR_SIZE, 16)
    this.driverArea = this.#area('driver area', options.driverArea, HEADER + 2 * size + 2, 2)
    this.deviceArea = this.#area('device area', options.deviceArea, HEADER + SplitRing.USED_ELEMENT_SIZE * size + 2, 4)
    this.#driver = new DataView(this.driverArea.buffer, this.driverArea.byteOffset, this.driverArea.byteLength)
    this.#device = new DataView(this.deviceArea.buffer, this.deviceArea.byteOffset, this.deviceArea.byteLength)
    this.#driverWords = wordsOf(this.driverArea)
    this.#deviceWords = wordsOf(this.deviceArea)
    const table = this.descriptorArea
    this.#reader = new ChainReader({ memory, table, size, indirect: options.indirect ?? false, where: this.#where })
    if (options.position !== undefined) {
      this.#takenIndex = options.position.taken
      this.#usedIndex = options.position.used
      return
    }
    // VIRTIO 1.3 § 2.7.10.1 "Driver Requirements: Available Buffer Notification Suppression"
    if (this.#device.getUint16(SplitRing.USED_FLAGS, true) !== 0)
      this.#record(Rules.AVAILABLE_SUPPRESSION, 'flags of the used ring are not 0 when the queue comes into use')
    this.#takenIndex = this.#usedIndex = options.startIndex ?? 0
    if (this.#device.getUint16(SplitRing.USED_IDX, true) !== this.#usedIndex)
      this.#record(Rules.QUEUE_CONFIGURATION, 'the used ring is not zeroed when the queue comes into use')
  }

  /**
   * Where the parts of a queue lie that a legacy driver put at `address`.
   * VIRTIO 1.3 § 2.7.2 "Legacy Interfaces: A Note on Virtqueue Layout"
   */
  static legacyAddresses(address: number, size: number): RingAddresses {
    const driverArea = address + SplitRing.DESCRIPTOR_SIZE * size
    const end = driverArea + 2 * (3 + size)
    return { descriptorArea: address, driverArea, deviceArea: Math.ceil(end / 4096) * 4096 }
  }

  get broken(): string | undefined {
    return this.#broken
  }

  /** Free-running index of the next available entry the device takes. */
  get takenIndex(): number {
    return this.#takenIndex
  }

  /** Free-running index of the next used entry the device writes. */
  get usedIndex(): number {
    return this.#usedIndex
  }

  get position(): RingPosition {
    return { taken: this.#takenIndex, used: this.#usedIndex }
  }

  get available(): number {
    if (this.#stopped || this.#broken !== undefined || !this.#reachable()) return 0
    const count = (this.#availableIndex() - this.#takenIndex) & 0xffff
    if (count <= this.size) return count
    this.#break(
      Rules.AVAILABLE_RING,
      `idx of the available ring went from ${this.#takenIndex} to ${this.#availableIndex()}`,
    )
    return 0
  }

  take(): DescriptorChain | undefined {
    if (this.allowance <= 0) return undefined
    if (this.available === 0) return undefined
    this.#checkFlags()
    const slot = this.#takenIndex & (this.size - 1)
    const head = this.#driver.getUint16(HEADER + 2 * slot, true)
    try {
      const chain = this.#reader.read(head)
      this.#takenIndex = (this.#takenIndex + 1) & 0xffff
      this.allowance--
      return chain
    } catch (error) {
      if (!(error instanceof BrokenChain)) throw error
      this.#break(error.rule, error.message.slice(this.#where.length))
      return undefined
    }
  }

  untake(chains: readonly DescriptorChain[]): void {
    for (const chain of chains) this.#reader.release(chain)
    this.#takenIndex = (this.#takenIndex - chains.length) & 0xffff
  }

  push(chain: DescriptorChain, written: number): void {
    if (this.#stopped) return
    this.#reader.release(chain)
    this.#filled.push({ id: chain.head, length: written })
  }

  flush(): boolean {
    if (this.#stopped || this.#filled.length === 0 || this.#broken !== undefined) return false
    const { profile, device } = this.#options
    const elements = this.#filled
    this.#filled = []
    profile?.on?.('used', { ring: this, elements }, device)
    if (elements.length === 0) return false
    elements.forEach((element, n) => this.#writeElement((this.#usedIndex + n) & (this.size - 1), element))
    const previous = this.#usedIndex
    this.#usedIndex = (previous + elements.length) & 0xffff
    const moment = { ring: this, previous, index: this.#usedIndex }
    profile?.on?.('publish', moment, device)
    // VIRTIO 1.3 § 2.7.8.2 "Device Requirements: The Virtqueue Used Ring": the elements come before the index.
    store16(this.#device, this.#deviceWords, SplitRing.USED_IDX, moment.index & 0xffff)
    if (!this.#wantsNotification(previous)) return false
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
    this.#reader.remember()
  }

  suppressNotifications(): void {
    if (this.#stopped) return
    // With the event index, leaving it behind is how a device says so: flags stay 0.
    if (!this.#options.eventIndex) this.#device.setUint16(SplitRing.USED_FLAGS, SplitRing.USED_F_NO_NOTIFY, true)
  }

  requestNotifications(): boolean {
    if (this.#stopped) return false
    // The entry behind the newest: a device that waits for more than there is has seen those before it.
    const next = this.#availableIndex()
    if (this.#options.eventIndex)
      store16(this.#device, this.#deviceWords, HEADER + SplitRing.USED_ELEMENT_SIZE * this.size, next)
    else this.#device.setUint16(SplitRing.USED_FLAGS, 0, true)
    return this.allowance > 0 && this.available > 0
  }

  /** VIRTIO 1.3 § 2.7.7.2 "Device Requirements: Used Buffer Notification Suppression" */
  #wantsNotification(previous: number): boolean {
    this.#checkFlags()
    // VIRTIO 1.3 § 6.3 "Legacy Interface: Reserved Feature Bits": whatever the driver asked for.
    if (this.#options.notifyOnEmpty && this.available === 0) return true
    if (this.#options.eventIndex) {
      const event = load16(this.#driver, this.#driverWords, HEADER + 2 * this.size)
      return passesEvent(previous, this.#usedIndex, event)
    }
    return (load16(this.#driver, this.#driverWords, SplitRing.AVAIL_FLAGS) & SplitRing.AVAIL_F_NO_INTERRUPT) === 0
  }

  /** VIRTIO 1.3 § 2.7.7.1 "Driver Requirements: Used Buffer Notification Suppression" */
  #checkFlags(): void {
    const flags = this.#driver.getUint16(SplitRing.AVAIL_FLAGS, true)
    if (this.#options.eventIndex && flags !== 0)
      this.#record(Rules.USED_SUPPRESSION, `flags of the available ring are ${flags}, not 0, with EVENT_IDX`)
    else if (flags > 1)
      this.#record(Rules.USED_SUPPRESSION, `flags of the available ring are ${flags}, neither 0 nor 1`)
  }

  #writeElement(slot: number, { id, length }: UsedElement): void {
    const at = SplitRing.USED_RING + SplitRing.USED_ELEMENT_SIZE * slot
    this.#device.setUint32(at, id >>> 0, true)
    this.#device.setUint32(at + 4, length >>> 0, true)
  }

  #availableIndex(): number {
    return load16(this.#driver, this.#driverWords, SplitRing.AVAIL_IDX)
  }

  /** Whether the ring's own memory is still the device's to use: a driver may free it only after a reset. */
  #reachable(): boolean {
    const { memory, descriptorArea, driverArea, deviceArea } = this.#options
    const there = (address: number): boolean => memory.reaches(address, 1, this.#ring)
    if (there(descriptorArea) && there(driverArea) && there(deviceArea)) return true
    this.#break(Rules.CLEANUP, 'the ring was freed while the device could still reach it')
    return false
  }

  #area(what: string, address: number, length: number, alignment: number): Uint8Array {
    if (address % alignment !== 0)
      this.#record(
        Rules.RING_ALIGNMENT,
        `the ${what} at 0x${address.toString(16)} is not aligned to ${alignment} bytes`,
      )
    const bytes = this.#options.memory.bytes(address, length, [this.#where, what], Rules.RING_LAYOUT)
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

/**
 * The indexes and events are the only fields both sides touch at once: atomic, in case the driver is another thread.
 * @param words the area as 16-bit words, or undefined where it is not aligned for that
 */
function load16(view: DataView, words: Uint16Array | undefined, offset: number): number {
  return words ? Atomics.load(words, offset / 2) : view.getUint16(offset, true)
}

function store16(view: DataView, words: Uint16Array | undefined, offset: number, value: number): void {
  if (words) Atomics.store(words, offset / 2, value)
  else view.setUint16(offset, value, true)
}

function wordsOf(area: Uint8Array): Uint16Array | undefined {
  return area.byteOffset % 2 === 0 ? new Uint16Array(area.buffer, area.byteOffset, area.byteLength >> 1) : undefined
}
