import { setImmediate as turn } from 'node:timers/promises'
import { beforeEach, expect, it } from 'vitest'
import type { CaptureSink } from '../capture/packet-tap.ts'
import { replayFrames } from './frame-batch.ts'
import { FrameSender } from './frame-sender.ts'

interface Seen {
  readonly time: bigint
  readonly direction: string
  readonly queue: number
  readonly header: number[]
  readonly frame: number[]
}

let batches: { batch: Uint8Array; dropped: number }[]
let sender: FrameSender

beforeEach(() => {
  batches = []
  sender = new FrameSender((batch, dropped) => batches.push({ batch, dropped }))
})

function replayed(): Seen[] {
  const seen: Seen[] = []
  const sink: CaptureSink = {
    captureAt: (time, direction, queue, header, ...segments) =>
      seen.push({ time, direction, queue, header: [...header], frame: segments.flatMap((segment) => [...segment]) }),
    missed: () => {},
  }
  for (const { batch } of batches) replayFrames(batch, [sink])
  return seen
}

it('delivers frames whole, in order, with the time they were seen at', async () => {
  const before = BigInt(Date.now() - 5) * 1_000_000n
  const header = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
  sender.capture('rx', 0, header, Uint8Array.of(1, 2), Uint8Array.of(3), new Uint8Array(0))
  sender.capture('tx', 3, new Uint8Array(12), Uint8Array.of(4))
  expect(batches).toEqual([])
  await turn()
  expect(batches).toHaveLength(1)
  const seen = replayed()
  expect(seen).toMatchObject([
    { direction: 'rx', queue: 0, header: [...header], frame: [1, 2, 3] },
    { direction: 'tx', queue: 3, header: Array.from({ length: 12 }, () => 0), frame: [4] },
  ])
  expect(seen[0]?.time).toBeGreaterThan(before)
  expect(seen[1]?.time).toBeGreaterThanOrEqual(seen[0]?.time ?? 0n)
})

it('copies: what the caller does with its memory afterwards is not seen', async () => {
  const frame = Uint8Array.of(7)
  sender.capture('rx', 0, new Uint8Array(12), frame)
  frame[0] = 8
  await turn()
  expect(replayed()[0]?.frame).toEqual([7])
})

it('takes a frame larger than a batch is otherwise', async () => {
  const frame = new Uint8Array(300_000).fill(5)
  sender.capture('rx', 0, new Uint8Array(12), Uint8Array.of(1))
  sender.capture('rx', 0, new Uint8Array(12), frame)
  await turn()
  expect(replayed().map((seen) => seen.frame.length)).toEqual([1, 300_000])
})

it('drops and counts while the other thread takes nothing, and goes on when it does', async () => {
  const frame = new Uint8Array(60_000)
  for (let i = 0; i < 200; i++) sender.capture('rx', 0, new Uint8Array(12), frame)
  await turn()
  const delivered = replayed().length
  const bytes = batches.reduce((sum, { batch }) => sum + batch.buffer.byteLength, 0)
  expect(delivered).toBeLessThan(100)
  expect(bytes).toBeLessThanOrEqual((4 << 20) + (256 << 10))
  expect(batches.map(({ dropped }) => dropped)).toEqual(batches.map(() => 0))
  sender.taken(bytes)
  sender.capture('rx', 0, new Uint8Array(12), frame)
  await turn()
  // What was lost is said with the first batch behind the gap.
  expect(batches.at(-1)?.dropped).toBe(200 - delivered)
  expect(replayed()).toHaveLength(delivered + 1)
})
