/**
 * The device half of a split ring and a reader of its used ring, as plainly as the specification puts them: DataView over the
 * shared memory, nothing shared with the code under test, no speed. A driver that breaks a rule makes it throw.
 */
export interface Buffer {
  readonly address: number
  readonly length: number
  readonly writable: boolean
}

export interface TakenChain {
  readonly id: number
  readonly buffers: readonly Buffer[]
}

export interface RingPlace {
  readonly size: number
  readonly eventIdx: boolean
  readonly indirect: boolean
  readonly startIndex: number
  /** Offsets in the memory. */
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
}

export class NaiveDevice {
  readonly memory: DataView
  /** The device address of the memory's first byte. */
  readonly base: number
  readonly ring: RingPlace
  readonly held = new Map<number, TakenChain>()
  nextAvailable: number
  usedIndex: number

  constructor(memory: DataView, base: number, ring: RingPlace) {
    this.memory = memory
    this.base = base
    this.ring = ring
    this.nextAvailable = ring.startIndex
    this.usedIndex = ring.startIndex
  }

  get availableIndex(): number {
    return this.memory.getUint16(this.ring.driverArea + 2, true)
  }

  get availableFlags(): number {
    return this.memory.getUint16(this.ring.driverArea, true)
  }

  get usedEvent(): number {
    return this.memory.getUint16(this.ring.driverArea + 4 + 2 * this.ring.size, true)
  }

  get availEvent(): number {
    return this.memory.getUint16(this.ring.deviceArea + 4 + 8 * this.ring.size, true)
  }

  set availEvent(value: number) {
    this.memory.setUint16(this.ring.deviceArea + 4 + 8 * this.ring.size, value, true)
  }

  set usedFlags(value: number) {
    this.memory.setUint16(this.ring.deviceArea, value, true)
  }

  /** Takes every available chain. */
  take(): TakenChain[] {
    const { size, driverArea } = this.ring
    const waiting = (this.availableIndex - this.nextAvailable + 0x10000) % 0x10000
    if (waiting > size) throw new Error(`avail idx moved by ${waiting} in a ring of ${size}`)
    const chains: TakenChain[] = []
    for (let i = 0; i < waiting; i++) {
      const id = this.memory.getUint16(driverArea + 4 + 2 * (this.nextAvailable % size), true)
      if (this.held.has(id)) throw new Error(`head ${id} made available twice`)
      const chain = { id, buffers: this.#walk(id) }
      this.held.set(id, chain)
      chains.push(chain)
      this.nextAvailable = (this.nextAvailable + 1) % 0x10000
    }
    return chains
  }

  /** Writes a used element, any 32 bits, and moves the index on. */
  putUsed(id: number, written: number): void {
    this.writeElement(this.usedIndex, id, written)
    this.moveUsedIndex((this.usedIndex + 1) % 0x10000)
    this.held.delete(id)
  }

  writeElement(index: number, id: number, written: number): void {
    const at = this.ring.deviceArea + 4 + 8 * (index % this.ring.size)
    this.memory.setUint32(at, id, true)
    this.memory.setUint32(at + 4, written, true)
  }

  moveUsedIndex(index: number): void {
    this.usedIndex = index
    this.memory.setUint16(this.ring.deviceArea + 2, index, true)
  }

  /** Whether the driver wants to be notified of the elements from `old` to the current used index. */
  mustNotify(old: number): boolean {
    if (!this.ring.eventIdx) return this.availableFlags === 0
    for (let index = old; index !== this.usedIndex; index = (index + 1) % 0x10000) {
      if (index === this.usedEvent) return true
    }
    return false
  }

  /** Writes over everything that only the driver may write. */
  scribble(byte: () => number): void {
    const { descriptorArea, driverArea, size } = this.ring
    for (let i = 0; i < 16 * size; i++) this.memory.setUint8(descriptorArea + i, byte())
    for (let i = 0; i < 6 + 2 * size; i++) this.memory.setUint8(driverArea + i, byte())
  }

  #walk(head: number): Buffer[] {
    const buffers: Buffer[] = []
    let table = this.ring.descriptorArea
    let entries = this.ring.size
    let index = head
    let total = 0
    for (;;) {
      if (index >= entries) throw new Error(`descriptor ${index} of ${entries}`)
      const at = table + 16 * index
      const address = this.memory.getUint32(at, true) + this.memory.getUint32(at + 4, true) * 2 ** 32
      const length = this.memory.getUint32(at + 8, true)
      const flags = this.memory.getUint16(at + 12, true)
      const next = this.memory.getUint16(at + 14, true)
      if (flags & ~7) throw new Error(`descriptor flags ${flags}`)
      if (length === 0) throw new Error('a descriptor of zero length')
      if (flags & 4) {
        if (!this.ring.indirect) throw new Error('INDIRECT was not negotiated')
        if (flags & 1) throw new Error('INDIRECT together with NEXT')
        if (table !== this.ring.descriptorArea) throw new Error('INDIRECT within an indirect table')
        if (length % 16 !== 0) throw new Error(`an indirect table of ${length} bytes`)
        table = address - this.base
        entries = length / 16
        index = 0
        continue
      }
      const writable = (flags & 2) !== 0
      if (!writable && buffers.at(-1)?.writable) throw new Error('readable after writable')
      buffers.push({ address, length, writable })
      if (buffers.length > this.ring.size) throw new Error('a chain longer than the queue')
      total += length
      if (total > 2 ** 32) throw new Error('a chain of more than 2^32 bytes')
      if (!(flags & 1)) return buffers
      index = next
    }
  }
}

/** What a chain is to the reader of the used ring. */
export interface Expected {
  readonly cookie: number
  readonly capacity: number
}

export interface Completion {
  readonly cookie: number
  readonly written: number
}

/** What one call of `popUsed` has to do, given what the device wrote. */
export interface Verdict {
  readonly completions: Completion[]
  readonly violation: string | undefined
  readonly clamped: number
}

/** The used ring's fields, each asked for once. */
export interface UsedRingSource {
  index(): number
  id(slot: number): number
  length(slot: number): number
}

/**
 * The naive reader: goes through the used ring element by element, and says exactly which completions a driver must report, and what
 * it must break on. It knows the chains by the heads read from the available ring.
 */
export class NaiveReader {
  readonly outstanding = new Map<number, Expected>()
  readonly #size: number
  readonly #strict: boolean
  lastUsed: number

  constructor(size: number, strict: boolean, startIndex: number) {
    this.#size = size
    this.#strict = strict
    this.lastUsed = startIndex
  }

  read(source: UsedRingSource, limit: number): Verdict {
    const verdict = { completions: [] as Completion[], violation: undefined as string | undefined, clamped: 0 }
    const ahead = (source.index() - this.lastUsed + 0x10000) % 0x10000
    if (ahead > this.outstanding.size) return { ...verdict, violation: 'ring.idx-jump' }
    for (let i = 0; i < Math.min(ahead, limit); i++) {
      const slot = this.lastUsed % this.#size
      const id = source.id(slot)
      if (id >= this.#size) return { ...verdict, violation: 'ring.id-range' }
      const chain = this.outstanding.get(id)
      if (chain === undefined) return { ...verdict, violation: 'ring.not-head' }
      let written = source.length(slot)
      if (written > chain.capacity) {
        if (this.#strict && chain.capacity > 0) return { ...verdict, violation: 'ring.length' }
        written = chain.capacity
        verdict.clamped++
      }
      verdict.completions.push({ cookie: chain.cookie, written })
      this.outstanding.delete(id)
      this.lastUsed = (this.lastUsed + 1) % 0x10000
    }
    return verdict
  }
}
