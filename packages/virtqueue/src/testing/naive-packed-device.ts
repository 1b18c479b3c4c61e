import type { Buffer, Completion, Expected, Verdict } from './naive-device.ts'

/**
 * The device half of a packed ring and a reader of its used descriptors, as plainly as the specification puts them: DataView over the
 * shared memory, wrap counters as counters, nothing shared with the code under test, no speed. A driver that breaks a rule makes it throw.
 */
export interface PackedTaken {
  readonly id: number
  readonly buffers: readonly Buffer[]
  /** Descriptors it takes in the ring. */
  readonly count: number
}

export interface PackedPlace {
  readonly size: number
  readonly eventIdx: boolean
  readonly indirect: boolean
  /** Offsets in the memory. */
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
}

/** A descriptor and the wrap counter on reaching it. */
export class Cursor {
  readonly size: number
  slot: number
  wrap: boolean

  constructor(size: number, slot: number = 0, wrap: boolean = true) {
    this.size = size
    this.slot = slot
    this.wrap = wrap
  }

  next(): void {
    this.slot++
    if (this.slot < this.size) return
    this.slot = 0
    this.wrap = !this.wrap
  }

  skip(count: number): void {
    for (let i = 0; i < count; i++) this.next()
  }

  is(other: Cursor): boolean {
    return this.slot === other.slot && this.wrap === other.wrap
  }

  copy(): Cursor {
    return new Cursor(this.size, this.slot, this.wrap)
  }
}

export class NaivePackedDevice {
  readonly memory: DataView
  /** The device address of the memory's first byte. */
  readonly base: number
  readonly ring: PackedPlace
  readonly held = new Map<number, PackedTaken>()
  available: Cursor
  used: Cursor

  constructor(memory: DataView, base: number, ring: PackedPlace) {
    this.memory = memory
    this.base = base
    this.ring = ring
    this.available = new Cursor(ring.size)
    this.used = new Cursor(ring.size)
  }

  restart(): void {
    this.held.clear()
    this.available = new Cursor(this.ring.size)
    this.used = new Cursor(this.ring.size)
  }

  flags(slot: number): number {
    return this.memory.getUint16(this.ring.descriptorArea + 16 * slot + 14, true)
  }

  /** Device event suppression. */
  setEvents(flags: number, where: Cursor = new Cursor(this.ring.size)): void {
    this.memory.setUint16(this.ring.deviceArea, where.slot + (where.wrap ? 0x8000 : 0), true)
    this.memory.setUint16(this.ring.deviceArea + 2, flags, true)
  }

  /** Takes every available chain. */
  take(): PackedTaken[] {
    const chains: PackedTaken[] = []
    while (this.#isAvailable(this.available)) {
      const chain = this.#read()
      if (this.held.has(chain.id)) throw new Error(`id ${chain.id} made available twice`)
      this.held.set(chain.id, chain)
      chains.push(chain)
    }
    return chains
  }

  /** Writes a used descriptor, any id and length, and goes on behind the chain that it is, or by one. */
  putUsed(id: number, written: number, write: boolean = true): void {
    this.writeUsed(this.used, id, written, (this.used.wrap ? 0x8080 : 0) | (write ? 2 : 0))
    this.used.skip(this.held.get(id)?.count ?? 1)
    this.held.delete(id)
  }

  writeUsed({ slot }: Cursor, id: number, written: number, flags: number): void {
    const at = this.ring.descriptorArea + 16 * slot
    this.memory.setUint32(at + 8, written, true)
    this.memory.setUint16(at + 12, id, true)
    this.memory.setUint16(at + 14, flags, true)
  }

  /** Whether the driver wants to be notified of what was used from `old` on. */
  mustNotify(old: Cursor): boolean {
    const where = this.memory.getUint16(this.ring.driverArea, true)
    const flags = this.memory.getUint16(this.ring.driverArea + 2, true)
    if (flags === 0) return true
    if (flags === 1) return false
    if (flags !== 2 || !this.ring.eventIdx) throw new Error(`driver event flags ${flags}`)
    const event = new Cursor(this.ring.size, where & 0x7fff, where >= 0x8000)
    if (event.slot >= this.ring.size) throw new Error(`driver event offset ${event.slot}`)
    for (const at = old.copy(); !at.is(this.used); at.next()) if (at.is(event)) return true
    return false
  }

  #isAvailable({ slot, wrap }: Cursor): boolean {
    const flags = this.flags(slot)
    return ((flags & 0x80) !== 0) === wrap && ((flags & 0x8000) !== 0) === !wrap
  }

  #read(): PackedTaken {
    const buffers: Buffer[] = []
    const { size, descriptorArea } = this.ring
    for (let count = 1; ; count++) {
      if (count > size) throw new Error('a list longer than the queue')
      if (!this.#isAvailable(this.available)) throw new Error('a list that is available in part')
      const at = descriptorArea + 16 * this.available.slot
      const flags = this.memory.getUint16(at + 14, true)
      if (flags & ~0x8087) throw new Error(`descriptor flags ${flags}`)
      this.available.next()
      if (flags & 4) {
        if (!this.ring.indirect) throw new Error('INDIRECT was not negotiated')
        if (flags & 1 || count > 1) throw new Error('INDIRECT within a list')
        this.#readTable(at, buffers)
      } else this.#element(at, flags, buffers)
      if (!(flags & 1)) return { id: this.memory.getUint16(at + 12, true), buffers, count }
    }
  }

  #readTable(at: number, buffers: Buffer[]): void {
    const table = this.memory.getUint32(at, true) + this.memory.getUint32(at + 4, true) * 2 ** 32 - this.base
    const length = this.memory.getUint32(at + 8, true)
    if (length === 0 || length % 16 !== 0) throw new Error(`an indirect table of ${length} bytes`)
    if (length / 16 > this.ring.size) throw new Error('a list longer than the queue')
    for (let entry = table; entry < table + length; entry += 16) {
      const flags = this.memory.getUint16(entry + 14, true)
      if (flags & ~2) throw new Error(`flags ${flags} within an indirect table`)
      this.#element(entry, flags, buffers)
    }
  }

  #element(at: number, flags: number, buffers: Buffer[]): void {
    const address = this.memory.getUint32(at, true) + this.memory.getUint32(at + 4, true) * 2 ** 32
    const length = this.memory.getUint32(at + 8, true)
    if (length === 0) throw new Error('a descriptor of zero length')
    const writable = (flags & 2) !== 0
    if (!writable && buffers.at(-1)?.writable) throw new Error('readable after writable')
    buffers.push({ address, length, writable })
  }
}

export interface PackedExpected extends Expected {
  readonly descriptors: number
}

/** The fields of used descriptors, each asked for once. */
export interface UsedDescriptorSource {
  /** Id in the lower half, flags in the upper. */
  word(slot: number): number
  length(slot: number): number
}

/** The naive reader: says exactly which completions a driver must report, and what it must break on. */
export class NaivePackedReader {
  readonly outstanding = new Map<number, PackedExpected>()
  readonly used: Cursor
  readonly #strict: boolean

  constructor(size: number, strict: boolean) {
    this.used = new Cursor(size)
    this.#strict = strict
  }

  read(source: UsedDescriptorSource, limit: number): Verdict {
    const completions: Completion[] = []
    let clamped = 0
    const end = (violation?: string): Verdict => ({ completions, violation, clamped })
    while (completions.length < limit) {
      const { slot, wrap, size } = this.used
      const word = source.word(slot)
      const flags = word >>> 16
      if (((flags & 0x80) !== 0) !== wrap || ((flags & 0x8000) !== 0) !== wrap) return end()
      const id = word & 0xffff
      if (id >= size) return end('ring.id-range')
      const chain = this.outstanding.get(id)
      if (chain === undefined) return end('ring.not-head')
      let written = source.length(slot)
      if (written > chain.capacity) {
        const claimed = (flags & 2) !== 0
        if (claimed && this.#strict && chain.capacity > 0) return end('ring.length')
        written = claimed ? chain.capacity : 0
        clamped++
      }
      completions.push({ cookie: chain.cookie, written })
      this.outstanding.delete(id)
      this.used.skip(chain.descriptors)
    }
    return end()
  }
}
