import type { BlockDriver } from '@virtio-ts/driver-block'
import { expect } from 'vitest'

export interface BlockMixOptions {
  /** Operations in all. */
  readonly operations: number
  /** Whoever works on a stretch of the disk of its own, one operation after the other. @defaultValue 16 */
  readonly lanes?: number
  /** Blocks of an operation at most. @defaultValue 24 */
  readonly longest?: number
  /** The same seed, the same operations. */
  readonly seed: number
}

/** Numbers that look random and come back with their seed (mulberry32). */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

/** What the disk has to hold; of blocks that were discarded nobody can tell. */
class Shadow {
  readonly bytes: Uint8Array
  readonly known: Uint8Array
  readonly #blockSize: number

  constructor(bytes: Uint8Array, blockSize: number) {
    this.bytes = bytes
    this.known = new Uint8Array(bytes.length / blockSize).fill(1)
    this.#blockSize = blockSize
  }

  put(block: number, bytes: Uint8Array): void {
    this.bytes.set(bytes, block * this.#blockSize)
    this.known.fill(1, block, block + bytes.length / this.#blockSize)
  }

  forget(block: number, count: number): void {
    this.known.fill(0, block, block + count)
  }

  /** Compares byte for byte; the first difference is told with its place. */
  check(block: number, found: Uint8Array, what: string): void {
    const size = this.#blockSize
    for (let at = 0; at < found.length; at += size) {
      if (!this.known[block + at / size]) continue
      const mine = this.bytes.subarray(block * size + at, block * size + at + size)
      const theirs = found.subarray(at, at + size)
      if (Buffer.compare(mine, theirs) !== 0)
        expect.fail(
          `${what}: block ${block + at / size} differs at byte ${mine.findIndex((byte, n) => byte !== theirs[n])}`,
        )
    }
  }
}

/**
 * Reads, writes, zeroes, discards and flushes at random, many at a time, and holds every byte that comes back against a copy of its own; in
 * the end the whole disk.
 * @returns operations by kind
 */
export async function blockMix(disk: BlockDriver, options: BlockMixOptions): Promise<Readonly<Record<string, number>>> {
  const { operations, lanes = 16, longest = 24, seed } = options
  const { blockSize } = disk
  const span = Math.floor(disk.capacity / blockSize / lanes)
  const counts: Record<string, number> = {}
  let left = operations
  const lane = async (index: number): Promise<void> => {
    const random = randomNumbers(seed * 1000 + index)
    const base = index * span * blockSize
    const shadow = new Shadow(await disk.read(base, span * blockSize), blockSize)
    const direct = disk.allocate(longest * blockSize)
    while (left-- > 0) {
      const block = random(span)
      const count = 1 + random(Math.min(longest, span - block))
      const kind = await operate(disk, { random, shadow, direct, base, block, count })
      counts[kind] = (counts[kind] ?? 0) + 1
    }
    shadow.check(0, await disk.read(base, span * blockSize), `lane ${index}, in the end`)
  }
  await Promise.all(Array.from({ length: lanes }, (_, index) => lane(index)))
  return counts
}

interface Turn {
  readonly random: (below: number) => number
  readonly shadow: Shadow
  readonly direct: ReturnType<BlockDriver['allocate']>
  readonly base: number
  readonly block: number
  readonly count: number
}

async function operate(disk: BlockDriver, turn: Turn): Promise<string> {
  const { random, shadow, direct, base, block, count } = turn
  const { blockSize } = disk
  const offset = base + block * blockSize
  const length = count * blockSize
  const wanted = random(100)
  if (wanted < 35) {
    shadow.check(block, await disk.read(offset, length), 'read')
    return 'read'
  }
  if (wanted < 45) {
    const cut = random(length)
    const arrays = [new Uint8Array(cut), new Uint8Array(length - cut)]
    await disk.read(offset, arrays)
    shadow.check(block, Buffer.concat(arrays), 'scattered read')
    return 'scattered read'
  }
  if (wanted < 55) {
    const cut = random(length)
    await disk.readInto(offset, [
      { region: direct, offset: length - cut, length: cut },
      { region: direct, offset: 0, length: length - cut },
    ])
    const bytes = direct.bytes
    shadow.check(
      block,
      Buffer.concat([bytes.subarray(length - cut, length), bytes.subarray(0, length - cut)]),
      'direct',
    )
    return 'direct read'
  }
  if (wanted < 85) {
    const data = new Uint8Array(length)
    const words = new Uint32Array(data.buffer)
    for (let n = 0; n < words.length; n++) words[n] = random(2 ** 32)
    if (wanted < 75) await disk.write(offset, data)
    else {
      direct.bytes.set(data)
      await disk.writeFrom(offset, { region: direct, offset: 0, length })
    }
    shadow.put(block, data)
    return wanted < 75 ? 'write' : 'direct write'
  }
  if (wanted < 91 && disk.features.has('WRITE_ZEROES')) {
    await disk.writeZeroes(offset, length, { unmap: random(2) === 1 })
    shadow.put(block, new Uint8Array(length))
    return 'write zeroes'
  }
  if (wanted < 96 && disk.features.has('DISCARD')) {
    await disk.discard(offset, length)
    shadow.forget(block, count)
    return 'discard'
  }
  await disk.flush()
  return 'flush'
}
