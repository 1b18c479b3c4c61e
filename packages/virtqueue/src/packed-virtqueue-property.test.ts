import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { UsedDescriptorSource } from './testing/naive-packed-device.ts'
import { packedConfig, PackedPlay } from './testing/packed-play.ts'
import { honest, hostile, steps } from './testing/ring-play.ts'
import { PackedDeviceArea } from './packed-device-area.ts'

// As for split rings: the oracle is a second, naive reader of the same used descriptors.

/** Sequences per property; more in the night. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 400)

describe('PackedVirtqueue beside a naive device and a naive reader', () => {
  it('§ 2.8: D8: D10: with an honest device every chain arrives as added and comes back once', () => {
    let reported = 0
    fc.assert(
      fc.property(packedConfig, steps(honest), (settings, sequence) => {
        const play = new PackedPlay(settings)
        for (const step of sequence) {
          play.run(step)
          play.checkState()
          play.checkHasUsed()
        }
        expect(play.bench.queue.broken).toBeUndefined()
        reported += play.reported
        play.restart()
      }),
      { numRuns: runs },
    )
    expect(reported).toBeGreaterThan(runs * 3)
  })

  it('D1: D3: D4: D5: D6: D11: D14: D15: D17: with a hostile device it reports what the naive reader reports, or breaks', () => {
    const breaks = new Map<string, number>()
    let reported = 0
    fc.assert(
      fc.property(packedConfig, steps(hostile), (settings, sequence) => {
        const play = new PackedPlay(settings)
        for (const step of sequence) {
          play.run(step)
          play.checkState()
          play.checkHasUsed()
          const code = play.bench.queue.broken?.code
          if (code === undefined) continue
          breaks.set(code, (breaks.get(code) ?? 0) + 1)
          play.restart()
        }
        reported += play.reported
        play.restart()
      }),
      { numRuns: runs },
    )
    for (const code of ['ring.id-range', 'ring.not-head', 'ring.length']) {
      expect({ code, breaks: breaks.get(code) ?? 0 }).toEqual({ code, breaks: expect.toSatisfy((n) => n > runs / 40) })
    }
    expect(reported).toBeGreaterThan(runs * 2)
  })

  it('D12: with memory that changes between any two reads it goes by the first value of each', () => {
    let reported = 0
    const scripted = fc.record({
      settings: packedConfig,
      rounds: fc.array(
        fc.record({
          add: fc.nat(6),
          batch: fc.integer({ min: 1, max: 8 }),
          used: fc.nat(6),
          noise: fc.array(
            fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(0xffffffff) }),
            { minLength: 16, maxLength: 16 },
          ),
        }),
        { minLength: 20, maxLength: 80, size: 'max' },
      ),
    })
    fc.assert(
      fc.property(scripted, ({ settings, rounds }) => {
        const log: { field: string; slot: number; value: number }[] = []
        let noise: readonly number[] = []
        let reads = 0
        let plausible: { word: number; slot: number }[] = []
        const note = (field: string, slot: number, value: number): number => {
          const disturbed = (value ^ (noise[reads++ % 16] ?? 0)) >>> 0
          log.push({ field, slot, value: disturbed })
          return disturbed
        }
        class Unsteady extends PackedDeviceArea {
          override usedWord(slot: number): number {
            const wrap = plausible.find((entry) => entry.slot === slot)
            return note('word', slot, wrap?.word ?? 0x80 << 16)
          }
          override usedLength(slot: number): number {
            return note('length', slot, 1)
          }
        }
        const play = new PackedPlay(settings, (bytes, offset, size) => new Unsteady(bytes, offset, size))
        for (const round of rounds) {
          for (let i = 0; i < round.add; i++) play.run({ do: 'add', readable: 0, writable: 1 + (i % 2), length: 1 + i })
          play.run({ do: 'publish' })
          const place = play.reader.used.copy()
          plausible = [...play.reader.outstanding].slice(0, round.used).map(([id, { descriptors }]) => {
            const entry = { slot: place.slot, word: (id | ((place.wrap ? 0x8082 : 2) << 16)) >>> 0 }
            place.skip(descriptors)
            return entry
          })
          noise = round.noise
          reads = 0
          log.length = 0
          // The naive device does not know what this memory says it has used.
          play.bench.device.held.clear()
          play.pop(round.batch, replay(log))
          const [words, lengths] = ['word', 'length'].map((field) => log.filter((entry) => entry.field === field))
          expect(new Set(lengths!.map(({ slot }) => slot)).size).toBe(lengths!.length)
          // The last one read may be the first one of the next lap.
          expect(new Set(words!.slice(0, -1).map(({ slot }) => slot)).size).toBe(words!.length - 1)
          play.checkState()
          if (play.bench.queue.broken) play.restart()
        }
        reported += play.reported
        play.restart()
      }),
      { numRuns: runs },
    )
    expect(reported).toBeGreaterThan(runs * 3)
  })
})

/** What the driver was given, for the naive reader, in the same order: it may not need a value that the driver did not ask for. */
function replay(log: readonly { field: string; slot: number; value: number }[]): UsedDescriptorSource {
  let queues: { words: typeof log; lengths: typeof log } | undefined
  const at = { word: 0, length: 0 }
  const next = (field: 'word' | 'length', slot: number): number => {
    // Only now, as the driver has read everything before the reader begins.
    queues ??= {
      words: log.filter((entry) => entry.field === 'word'),
      lengths: log.filter((entry) => entry.field === 'length'),
    }
    const entry = queues[`${field}s`][at[field]++]
    if (entry?.slot !== slot) throw new Error(`the driver read no ${field} ${slot} at this point`)
    return entry.value
  }
  return { word: (slot) => next('word', slot), length: (slot) => next('length', slot) }
}
