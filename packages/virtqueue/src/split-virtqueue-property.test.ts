import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { UsedRingSource } from './testing/naive-device.ts'
import { config, honest, hostile, Play, steps } from './testing/ring-play.ts'
import { DeviceArea } from './device-area.ts'

// The oracle is a second, naive reader of the same used ring: the driver has to report exactly the completions it reports, or break
// where it breaks. A list of attacks would not do: some attacks cannot be told from a legal completion.

/** Sequences per property; more in the night. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 400)

describe('SplitVirtqueue beside a naive device and a naive reader', () => {
  it('D8: D10: with an honest device every chain arrives as added and comes back once', () => {
    let reported = 0
    fc.assert(
      fc.property(config, steps(honest), (settings, sequence) => {
        const play = new Play(settings)
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

  it('D1: D2: D3: D4: D5: D6: D9: D11: D17: with a hostile device it reports what the naive reader reports, or breaks', () => {
    const breaks = new Map<string, number>()
    let reported = 0
    fc.assert(
      fc.property(config, steps(hostile), (settings, sequence) => {
        const play = new Play(settings)
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
    // The devices must have been neither tame nor so wild that nothing but their first move was seen.
    for (const code of ['ring.id-range', 'ring.not-head', 'ring.idx-jump', 'ring.length']) {
      expect({ code, breaks: breaks.get(code) ?? 0 }).toEqual({ code, breaks: expect.toSatisfy((n) => n > runs / 40) })
    }
    expect(reported).toBeGreaterThan(runs * 2)
  })

  it('D12: with memory that changes between any two reads it goes by the first value of each', () => {
    let reported = 0
    const scripted = fc.record({
      settings: config,
      rounds: fc.array(
        fc.record({
          add: fc.nat(6),
          batch: fc.integer({ min: 1, max: 8 }),
          // Relative to what is plausible: 0 is, most of the time.
          index: fc.oneof({ weight: 30, arbitrary: fc.nat(6) }, { weight: 1, arbitrary: fc.nat(0xffff) }),
          noise: fc.array(
            fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(0xffffffff) }),
            {
              minLength: 16,
              maxLength: 16,
            },
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
        let index = settings.startIndex
        const play: { current?: Play } = {}
        const disturb = (plausible: number) => (plausible ^ (noise[reads++ % 16] ?? 0)) >>> 0
        class Unsteady extends DeviceArea {
          override usedIndex(): number {
            return note('index', 0, disturb(index) & 0xffff)
          }
          override usedId(slot: number): number {
            const heads = [...play.current!.reader.outstanding.keys()]
            const already = new Set(log.filter(({ field }) => field === 'id').map(({ value }) => value))
            return note('id', slot, disturb(heads.find((head) => !already.has(head)) ?? 0))
          }
          override usedLength(slot: number): number {
            return note('length', slot, disturb(1))
          }
        }
        const note = (field: string, slot: number, value: number) => {
          log.push({ field, slot, value })
          return value
        }
        const current = new Play(settings, (bytes, offset, size) => new Unsteady(bytes, offset, size))
        play.current = current
        for (const round of rounds) {
          for (let i = 0; i < round.add; i++) current.run({ do: 'add', readable: 0, writable: 1, length: 1 + i })
          current.run({ do: 'publish' })
          index = (current.reader.lastUsed + Math.min(round.index, current.reader.outstanding.size)) & 0xffff
          if (round.index > 6) index = round.index
          noise = round.noise
          reads = 0
          log.length = 0
          current.pop(round.batch, replay(log))
          const fields = log.map(({ field, slot }) => `${field} ${slot}`)
          expect(new Set(fields).size).toBe(fields.length)
          current.checkState()
        }
        reported += current.reported
        current.restart()
      }),
      { numRuns: runs },
    )
    expect(reported).toBeGreaterThan(runs * 3)
  })
})

/** What the driver was given, for the naive reader: it may not need a value that the driver did not ask for. */
function replay(log: readonly { field: string; slot: number; value: number }[]): UsedRingSource {
  const find = (wanted: string, wantedSlot: number) => {
    const entry = log.find(({ field, slot }) => field === wanted && slot === wantedSlot)
    if (entry === undefined) throw new Error(`the driver never read ${wanted} ${wantedSlot}`)
    return entry.value
  }
  return { index: () => find('index', 0), id: (slot) => find('id', slot), length: (slot) => find('length', slot) }
}
