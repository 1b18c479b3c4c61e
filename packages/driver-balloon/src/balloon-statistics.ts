import { BalloonStat } from '@virtio-ts/spec'

/** What a driver may say about its memory; every value is optional. @see VIRTIO 1.3 § 5.5.6.4 "Memory Statistics Tags" */
export interface BalloonStatistics {
  /** Bytes swapped in, and out. */
  readonly swapIn?: number | bigint
  readonly swapOut?: number | bigint
  readonly majorFaults?: number | bigint
  readonly minorFaults?: number | bigint
  /** Bytes that are not used for anything. */
  readonly free?: number | bigint
  /** Bytes there are. */
  readonly total?: number | bigint
  /** Bytes that could be had for new programs without swapping. */
  readonly available?: number | bigint
  /** Bytes of caches that can be had back without writing anything. */
  readonly caches?: number | bigint
  /** Huge pages allocated, and not to be had. */
  readonly hugePageAllocations?: number | bigint
  readonly hugePageFailures?: number | bigint
}

const tags: Readonly<Record<keyof BalloonStatistics, number>> = {
  swapIn: BalloonStat.S_SWAP_IN,
  swapOut: BalloonStat.S_SWAP_OUT,
  majorFaults: BalloonStat.S_MAJFLT,
  minorFaults: BalloonStat.S_MINFLT,
  free: BalloonStat.S_MEMFREE,
  total: BalloonStat.S_MEMTOT,
  available: BalloonStat.S_AVAIL,
  caches: BalloonStat.S_CACHES,
  hugePageAllocations: BalloonStat.S_HTLB_PGALLOC,
  hugePageFailures: BalloonStat.S_HTLB_PGFAIL,
}

const names = Object.keys(tags) as (keyof BalloonStatistics)[]
const { ENTRY_LENGTH } = BalloonStat
/** Entries come in threes, see `encode`. */
const GROUP = 3
export const STATISTICS_LENGTH: number = Math.ceil(names.length / GROUP) * GROUP * ENTRY_LENGTH

/**
 * Statistics as the device gets them: the same ones every time, whatever the first said.
 * @see VIRTIO 1.3 § 5.5.6.3.1 "Driver Requirements: Memory Statistics"
 */
export class StatisticsEncoder {
  readonly #subset: readonly (keyof BalloonStatistics)[]
  readonly #last = new Map<keyof BalloonStatistics, bigint>()

  /** @throws RangeError when there is none, or a value is no number of things */
  constructor(first: BalloonStatistics) {
    this.#subset = names.filter((name) => first[name] !== undefined)
    if (this.#subset.length === 0) throw new RangeError('statistics without a single value')
    this.update(first)
  }

  /** Takes new values; what is missing stays as it was, and what was not there at first is left out. @throws RangeError */
  update(statistics: BalloonStatistics): void {
    const values = this.#subset.flatMap((name) => {
      const value = statistics[name]
      if (value === undefined) return []
      if (typeof value === 'number' && !Number.isFinite(value))
        throw new RangeError(`the statistic ${name} is ${value}`)
      const whole = typeof value === 'bigint' ? value : BigInt(Math.trunc(value))
      if (whole < 0n || whole >> 64n !== 0n) throw new RangeError(`the statistic ${name} is ${value}`)
      return [[name, whole] as const]
    })
    for (const [name, value] of values) this.#last.set(name, value)
  }

  /**
   * The specification wants a multiple of 6 bytes and has entries of 10: the last entry is repeated until both are met.
   * @returns bytes written
   */
  encode(into: Uint8Array): number {
    const view = new DataView(into.buffer, into.byteOffset, into.byteLength)
    const entries = Math.ceil(this.#subset.length / GROUP) * GROUP
    for (let entry = 0; entry < entries; entry++) {
      const name = this.#subset[Math.min(entry, this.#subset.length - 1)]!
      view.setUint16(entry * ENTRY_LENGTH, tags[name], true)
      view.setBigUint64(entry * ENTRY_LENGTH + 2, this.#last.get(name) ?? 0n, true)
    }
    return entries * ENTRY_LENGTH
  }
}
