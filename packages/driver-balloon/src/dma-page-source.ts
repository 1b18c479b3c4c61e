import { type DmaAllocator, DmaError, type DmaRegion } from '@virtio-ts/memory'
import { BALLOON_PAGE } from '@virtio-ts/spec'
import type { PageRange, PageSource } from './page-source.ts'

export interface DmaPageSourceOptions {
  /** Pages to give away at most. @defaultValue as many as there is memory for */
  readonly limit?: number
  /** Bytes kept as free memory, to be reported and hinted. @defaultValue 0: none */
  readonly free?: number
  /** Bytes of a range of free memory. @defaultValue 65536 */
  readonly rangeLength?: number
}

interface FreeRegion extends PageRange {
  readonly region: DmaRegion
  reported: boolean
  out: boolean
}

/** Pages out of the memory that devices reach: for benches, and for programs whose memory is all of that kind. */
export class DmaPageSource implements PageSource {
  readonly #allocator: DmaAllocator
  readonly #limit: number
  readonly #freeLength: number
  readonly #rangeLength: number
  readonly #pages = new Map<number, DmaRegion>()
  readonly #free = new Map<number, FreeRegion>()

  /** @throws RangeError for lengths that are no multiples of 4096 */
  constructor(allocator: DmaAllocator, options: DmaPageSourceOptions = {}) {
    this.#allocator = allocator
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY
    this.#freeLength = options.free ?? 0
    this.#rangeLength = options.rangeLength ?? 65536
    for (const length of [this.#freeLength, this.#rangeLength])
      if (!Number.isInteger(length) || length < 0 || length % BALLOON_PAGE !== 0)
        throw new RangeError(`${length} bytes are not so many pages of ${BALLOON_PAGE} bytes`)
    if (this.#rangeLength === 0) throw new RangeError('a range of no length')
  }

  /** Pages that are with the balloon. */
  get taken(): number {
    return this.#pages.size
  }

  take(most: number): readonly number[] {
    const taken: number[] = []
    while (taken.length < most && this.#pages.size < this.#limit) {
      const region = this.#allocate(BALLOON_PAGE)
      if (!region) break
      const page = region.deviceAddress / BALLOON_PAGE
      this.#pages.set(page, region)
      taken.push(page)
    }
    return taken
  }

  give(pages: readonly number[]): void {
    for (const region of this.#regions(pages)) this.#allocator.free(region)
  }

  abandon(pages: readonly number[]): void {
    for (const region of this.#regions(pages)) this.#allocator.quarantine(region)
  }

  takeFree(most: number, purpose: 'report' | 'hint'): readonly PageRange[] {
    while ((this.#free.size + 1) * this.#rangeLength <= this.#freeLength) {
      const region = this.#allocate(this.#rangeLength)
      if (!region) break
      const { deviceAddress: address, length } = region
      this.#free.set(address, { region, address, length, reported: false, out: false })
    }
    const there = [...this.#free.values()].filter(({ out, reported }) => !out && !(purpose === 'report' && reported))
    return there.slice(0, most).map((range) => {
      range.out = true
      range.reported ||= purpose === 'report'
      return { address: range.address, length: range.length }
    })
  }

  giveFree(ranges: readonly PageRange[]): void {
    for (const { address } of ranges) {
      const range = this.#free.get(address)
      if (range) range.out = false
    }
  }

  abandonFree(ranges: readonly PageRange[]): void {
    for (const { address } of ranges) {
      const range = this.#free.get(address)
      if (!range) continue
      this.#free.delete(address)
      this.#allocator.quarantine(range.region)
    }
  }

  fill({ address, length }: PageRange, value: number): void {
    const region = this.#free.get(address)?.region ?? this.#pages.get(address / BALLOON_PAGE)
    if (!region || length > region.length) throw new RangeError(`no memory of this source at ${address}`)
    const view = new DataView(region.bytes.buffer, region.bytes.byteOffset, length)
    for (let at = 0; at < length; at += 4) view.setUint32(at, value, true)
  }

  /** Lets go of free memory that is not out. */
  release(): void {
    for (const range of this.#free.values()) {
      if (range.out) continue
      this.#free.delete(range.address)
      this.#allocator.free(range.region)
    }
  }

  #allocate(length: number): DmaRegion | undefined {
    try {
      return this.#allocator.allocate(length, BALLOON_PAGE)
    } catch (error) {
      if (error instanceof DmaError && error.code === 'memory.exhausted') return undefined
      throw error
    }
  }

  *#regions(pages: readonly number[]): Generator<DmaRegion> {
    for (const page of pages) {
      const region = this.#pages.get(page)
      if (!region) throw new RangeError(`page ${page} is none that this source gave`)
      this.#pages.delete(page)
      yield region
    }
  }
}
