import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DeviceArea } from './device-area.ts'
import { PackedDeviceArea } from './packed-device-area.ts'
import { type LaneAreas, type LaneConfig, LanePlay, laneConfig } from './testing/lane-play.ts'
import { usedBatch } from './virtqueue.ts'

// A device that writes over the ring whatever it likes, whenever it likes: rings, descriptors, what the driver wrote. It may break the queue,
// or have its driver wait for ever. It must not get anything out of it that it did not have.

const CANARY = 0xa5

type Step =
  | { readonly do: 'add' | 'take' | 'use'; readonly count: number }
  | { readonly do: 'scribble'; readonly word: number; readonly value: number }
  | { readonly do: 'publish' }

const value = fc.oneof(
  fc.integer({ min: 0, max: 0xffffffff }),
  // Small numbers are ids and lengths; the others are flags that say a descriptor is used, or available.
  fc.nat(101),
  fc
    .record({ id: fc.nat(9), flags: fc.constantFrom(0, 2, 0x80, 0x8000, 0x8080, 0x8082) })
    .map(({ id, flags }) => ((flags << 16) | id) >>> 0),
)

const steps = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constantFrom('add', 'take', 'use'), count: fc.integer({ min: 1, max: 9 }) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('publish') }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('scribble'), word: fc.nat(1000), value }) },
  ),
  { minLength: 30, maxLength: 150, size: 'max' },
) as fc.Arbitrary<Step[]>

/** Reads of the ring beyond its end. */
function watched(): { areas: LaneAreas; outside: number[] } {
  const outside: number[] = []
  const see = (slot: number, size: number): void => {
    if (!(Number.isInteger(slot) && slot >= 0 && slot < size)) outside.push(slot)
  }
  class Split extends DeviceArea {
    size = 0
    override usedId(slot: number): number {
      see(slot, this.size)
      return super.usedId(slot)
    }
    override usedLength(slot: number): number {
      see(slot, this.size)
      return super.usedLength(slot)
    }
  }
  class Packed extends PackedDeviceArea {
    size = 0
    override usedWord(slot: number): number {
      see(slot, this.size)
      return super.usedWord(slot)
    }
    override usedLength(slot: number): number {
      see(slot, this.size)
      return super.usedLength(slot)
    }
  }
  return {
    outside,
    areas: {
      split: (bytes, offset, size) => Object.assign(new Split(bytes, offset, size), { size }),
      packed: (bytes, offset, size) => Object.assign(new Packed(bytes, offset, size), { size }),
    },
  }
}

/** A lane, and what is known of it without looking at the ring. */
class Scribbled {
  readonly play: LanePlay
  readonly outside: number[]
  /** Places by who has them. */
  readonly idle: Set<number>
  readonly out = new Set<number>()
  added: number[] = []
  /** In the order in which they were published, for the device. */
  published: number[] = []
  taken = 0
  chains = 0
  /** Scribbles on what the driver writes only: descriptors and driver area of a split ring. */
  readonly ownOnly: boolean

  constructor(config: LaneConfig, ownOnly: boolean) {
    const { areas, outside } = watched()
    this.play = new LanePlay(config, areas)
    this.outside = outside
    this.ownOnly = ownOnly
    this.idle = new Set(Array.from({ length: config.count }, (_, i) => i))
    this.#eachOther((bytes) => bytes.fill(CANARY))
  }

  run(step: Step): void {
    if (step.do === 'add') this.#add(step.count)
    else if (step.do === 'publish') this.#publish()
    else if (step.do === 'use') for (let i = 0; i < step.count; i++) this.#use()
    else if (step.do === 'scribble') this.#scribble(step.word, step.value)
    else this.#take(step.count)
  }

  /** Nothing but the ring was written, and nothing beyond its end read. */
  check(): void {
    this.#eachOther((bytes) => expect(bytes.every((byte) => byte === CANARY)).toBe(true))
    expect(this.outside).toEqual([])
  }

  #add(count: number): void {
    const { lane, config, bench } = this.play
    for (let i = 0; i < count && this.idle.size > 0 && bench.broken.length === 0; i++) {
      if (config.writable) {
        // Which ones, only what comes back tells: those that came back first.
        const [place] = this.idle
        lane.renew(1)
        this.idle.delete(place!)
        this.added.push(place!)
        continue
      }
      const place = lane.reserve()
      if (place < 0) break
      expect(this.idle.delete(place)).toBe(true)
      if (lane.add(place, 60)) this.added.push(place)
    }
  }

  #publish(): void {
    this.play.lane.publish()
    for (const place of this.added) {
      this.out.add(place)
      this.published.push(place)
    }
    this.added = []
  }

  /** What an honest device does: the next one in order. */
  #use(): void {
    const { bench, config } = this.play
    const place = this.published.shift()
    if (place === undefined) return
    const id = config.inOrder ? this.chains % config.size : place
    this.chains++
    bench.put(id, config.writable ? 50 : 0, 1)
  }

  #take(most: number): void {
    const { lane, config } = this.play
    const batch = usedBatch(most)
    const count = lane.pop(batch)
    expect(count).toBeLessThanOrEqual(most)
    for (let i = 0; i < count; i++) {
      const place = batch.cookies[i]!
      // Out until now, and only once.
      expect(this.out.delete(place)).toBe(true)
      expect(batch.written[i]).toBeLessThanOrEqual(config.writable ? 100 : 0)
      this.idle.add(place)
    }
    this.taken += count
    expect(lane.inFlight).toBe(this.out.size + this.added.length)
  }

  #scribble(word: number, value: number): void {
    const { queue } = this.play.bench
    const [region] = queue.memory
    const { descriptorArea, deviceArea } = queue.addresses
    const length = this.ownOnly ? deviceArea - descriptorArea : region!.length
    const { buffer, byteOffset } = region!.bytes
    new DataView(buffer, byteOffset, length).setUint32((word % (length >> 2)) * 4, value, true)
  }

  /** Memory the device reaches, but for the ring's. */
  #eachOther(see: (bytes: Uint8Array) => void): void {
    const [region] = this.play.bench.queue.memory
    const { buffer, byteOffset, length } = region!.bytes
    see(new Uint8Array(buffer, 0, byteOffset))
    see(new Uint8Array(buffer, byteOffset + length, 4096))
  }
}

describe('a lane whose ring the device scribbles on', () => {
  it('gives nothing away: no place that is not out, no byte beyond a buffer, no memory beside the ring', () => {
    let taken = 0
    let broken = 0
    fc.assert(
      fc.property(laneConfig, steps, (config, steps) => {
        const scribbled = new Scribbled(config, false)
        for (const step of steps) scribbled.run(step)
        scribbled.check()
        taken += scribbled.taken
        broken += scribbled.play.bench.broken.length
      }),
      { numRuns: 1500 },
    )
    expect(taken).toBeGreaterThan(1500)
    expect(broken).toBeGreaterThan(100)
  })

  it('does not read a split ring that it wrote itself', () => {
    let taken = 0
    fc.assert(
      fc.property(laneConfig, steps, (config, steps) => {
        const scribbled = new Scribbled({ ...config, format: 'split' }, true)
        let used = 0
        for (const step of steps) {
          const before = scribbled.published.length
          scribbled.run(step)
          if (step.do === 'use') used += before - scribbled.published.length
        }
        scribbled.run({ do: 'take', count: 64 })
        scribbled.check()
        expect(scribbled.play.bench.broken).toEqual([])
        expect(scribbled.taken).toBe(used)
        taken += used
      }),
      { numRuns: 500 },
    )
    expect(taken).toBeGreaterThan(2000)
  })
})
