import type { IoVector } from '@virtio-ts/native'
import type { TapQueue } from '@virtio-ts/tap'
import { expect, it } from 'vitest'
import { FrameTap } from './frame-tap.ts'
import type { PacketPair } from './packet-pair.ts'
import { SessionCounters } from './session-counters.ts'
import { ToDevice } from './to-device.ts'

const header = 12
const room = 16
const longSlot = 100
const stride = 70000
const largest = 65553

/** Slots 0, 1 ... are ordinary ones, those from 100 on long ones; what is committed is on record. */
class Slots {
  readonly bytes = new Uint8Array(4 * stride)
  readonly maxFrameLength = largest
  readonly committed: { slot: number; length: number; first: number; last: number; header: number }[] = []
  readonly reserved = new Set<number>()
  published = 0
  readonly #free: { ordinary: number[]; long: number[] }

  constructor(ordinary: number, long: number) {
    this.#free = {
      ordinary: Array.from({ length: ordinary }, (_, i) => i),
      long: Array.from({ length: long }, (_, i) => longSlot + i),
    }
  }

  reserve(length: number): number {
    const slot = (length > 2048 ? this.#free.long : this.#free.ordinary).shift() ?? -1
    if (slot >= 0) this.reserved.add(slot)
    return slot
  }

  frameOffset(slot: number): number {
    return room + (slot >= longSlot ? 2 * stride + (slot - longSlot) * stride : slot * 4096)
  }

  capacity(slot: number): number {
    return slot >= longSlot ? largest : 2048
  }

  commit(slot: number, length: number, bytes: Uint8Array, at: number): boolean {
    expect(this.reserved.delete(slot)).toBe(true)
    const first = bytes[this.frameOffset(slot)] as number
    const last = bytes[this.frameOffset(slot) + length - 1] as number
    this.committed.push({ slot, length, first, last, header: bytes[at] as number })
    return true
  }

  cancel(slot: number): void {
    expect(this.reserved.delete(slot)).toBe(true)
    this.#free.long.unshift(slot)
  }

  publish(): void {
    this.published++
  }
}

/** A TAP that hands over frames of these lengths; the n-th begins with n and ends with 200 + n, its header begins with 100 + n. Reads go where `ToDevice` must aim. */
function toDevice(slots: Slots, lengths: readonly number[], mtuOnly = false): ToDevice {
  let next = 0
  const tap = {
    read: (_into: IoVector): number => {
      const length = lengths[next]
      if (length === undefined) return -11
      const slot = [...slots.reserved].at(-1) as number
      slots.bytes[slots.frameOffset(slot) - header] = 100 + next
      slots.bytes[slots.frameOffset(slot) + length - 1] = 200 + next
      slots.bytes[slots.frameOffset(slot)] = next++
      return header + length
    },
  } as unknown as TapQueue
  const pair = slots as unknown as PacketPair
  return new ToDevice(pair, tap, new SessionCounters(), new FrameTap(() => {}), mtuOnly ? 1518 : largest, 0)
}

it('copies what fits an ordinary slot, and reads the next frame into the same long one', () => {
  const slots = new Slots(4, 2)
  expect(toDevice(slots, [60, 1514, 60000, 1515, 60]).turn()).toBe('full')
  expect(slots.committed).toEqual([
    { slot: 0, length: 60, first: 0, last: 200, header: 100 },
    { slot: 1, length: 1514, first: 1, last: 201, header: 101 },
    { slot: 100, length: 60000, first: 2, last: 202, header: 102 },
    { slot: 101, length: 1515, first: 3, last: 203, header: 103 },
  ])
  expect([slots.published, slots.reserved.size]).toEqual([1, 0])
})

it('gives the long slot back when there is no more to read', () => {
  const slots = new Slots(4, 1)
  const path = toDevice(slots, [60])
  expect(path.turn()).toBe('idle')
  expect(path.turn()).toBe('idle')
  expect(slots.committed.map(({ slot }) => slot)).toEqual([0])
  expect([slots.published, slots.reserved.size]).toEqual([1, 0])
})

it('sends a short frame from the long slot when no ordinary one is left', () => {
  const slots = new Slots(1, 2)
  expect(toDevice(slots, [60, 61]).turn()).toBe('idle')
  expect(slots.committed.map(({ slot, length, first }) => [slot, length, first])).toEqual([
    [0, 60, 0],
    [100, 61, 1],
  ])
  expect(slots.reserved.size).toBe(0)
})

it('copies nothing where all slots are ordinary ones', () => {
  const slots = new Slots(3, 0)
  expect(toDevice(slots, [60, 1518, 60, 60], true).turn()).toBe('full')
  expect(slots.committed.map(({ slot }) => slot)).toEqual([0, 1, 2])
})

it('stops after a turn’s budget', () => {
  const slots = new Slots(100, 1)
  expect(
    toDevice(
      slots,
      Array.from({ length: 100 }, () => 60),
    ).turn(),
  ).toBe('more')
  expect(slots.committed.length).toBe(64)
  expect(slots.reserved.size).toBe(0)
})
