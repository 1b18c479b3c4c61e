import type { DeviceArea } from './device-area.ts'
import type { UsedBatch } from './virtqueue.ts'

// The loops of `SplitLane`, as those of `PackedLane` in `packed-runs.ts`.

/**
 * Takes used elements for as long as each is the expected one - that of the place whose turn it is, with IN_ORDER of the next descriptor -
 * with a length in bounds.
 * @param batch gets, from `to` on, places and lengths: also of the element behind those counted, where one was read
 * @param last gets the last id that was read
 * @returns how many
 */
export function takeExpected(
  area: DeviceArea,
  slot: number,
  run: number,
  order: Int32Array,
  at: number,
  inOrder: boolean,
  descriptor: number,
  capacity: number,
  { cookies, written }: UsedBatch,
  to: number,
  last: Uint32Array,
): number {
  let i = 0
  let place = 0
  let id = 0
  let length = 0
  while (i < run) {
    place = order[at + i]!
    id = area.usedId(slot + i)
    length = area.usedLength(slot + i)
    cookies[to + i] = place
    written[to + i] = length
    if (id !== (inOrder ? descriptor + i : place) || length > capacity || ++i === run) break
    place = order[at + i]!
    id = area.usedId(slot + i)
    length = area.usedLength(slot + i)
    cookies[to + i] = place
    written[to + i] = length
    if (id !== (inOrder ? descriptor + i : place) || length > capacity || ++i === run) break
    place = order[at + i]!
    id = area.usedId(slot + i)
    length = area.usedLength(slot + i)
    cookies[to + i] = place
    written[to + i] = length
    if (id !== (inOrder ? descriptor + i : place) || length > capacity || ++i === run) break
    place = order[at + i]!
    id = area.usedId(slot + i)
    length = area.usedLength(slot + i)
    cookies[to + i] = place
    written[to + i] = length
    if (id !== (inOrder ? descriptor + i : place) || length > capacity || ++i === run) break
  }
  last[0] = id
  return i
}

/** The same, whatever the lengths are. */
export function skipExpected(
  area: DeviceArea,
  slot: number,
  run: number,
  order: Int32Array,
  at: number,
  inOrder: boolean,
  descriptor: number,
  last: Uint32Array,
): number {
  let i = 0
  let id = 0
  while (i < run) {
    id = area.usedId(slot + i)
    if (id !== (inOrder ? descriptor + i : order[at + i]!) || ++i === run) break
    id = area.usedId(slot + i)
    if (id !== (inOrder ? descriptor + i : order[at + i]!) || ++i === run) break
    id = area.usedId(slot + i)
    if (id !== (inOrder ? descriptor + i : order[at + i]!) || ++i === run) break
    id = area.usedId(slot + i)
    if (id !== (inOrder ? descriptor + i : order[at + i]!) || ++i === run) break
  }
  last[0] = id
  return i
}
