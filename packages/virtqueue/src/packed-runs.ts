import { PackedRing } from '@virtio-ts/spec'
import type { PackedDeviceArea } from './packed-device-area.ts'
import type { UsedBatch } from './virtqueue.ts'

// The loops of `PackedLane`, each over a run of descriptors that ends where ring or circle do, four descriptors a turn: V8 looks at what an
// array is, how long it is and where it begins once in a turn, and anew in the next one.

const USED_AND_ID = ((PackedRing.DESC_F_AVAIL | PackedRing.DESC_F_USED) << 16) | 0xffff

/**
 * Reads used descriptors for as long as each is the expected one: that of the place whose turn it is, with IN_ORDER its own.
 * @param used AVAIL and USED of this lap
 * @param batch gets, from `to` on, places and the words read: also the word behind those counted, where one was read
 * @returns how many
 */
export function countExpected(
  area: PackedDeviceArea,
  slot: number,
  run: number,
  used: number,
  order: Int32Array,
  at: number,
  inOrder: boolean,
  { cookies, written }: UsedBatch,
  to: number,
): number {
  let i = 0
  let place = 0
  let word = 0
  while (i < run) {
    place = order[at + i]!
    word = area.usedWord(slot + i)
    cookies[to + i] = place
    written[to + i] = word
    if ((word & USED_AND_ID) !== (used | (inOrder ? slot + i : place)) || ++i === run) break
    place = order[at + i]!
    word = area.usedWord(slot + i)
    cookies[to + i] = place
    written[to + i] = word
    if ((word & USED_AND_ID) !== (used | (inOrder ? slot + i : place)) || ++i === run) break
    place = order[at + i]!
    word = area.usedWord(slot + i)
    cookies[to + i] = place
    written[to + i] = word
    if ((word & USED_AND_ID) !== (used | (inOrder ? slot + i : place)) || ++i === run) break
    place = order[at + i]!
    word = area.usedWord(slot + i)
    cookies[to + i] = place
    written[to + i] = word
    if ((word & USED_AND_ID) !== (used | (inOrder ? slot + i : place)) || ++i === run) break
  }
  return i
}

/**
 * Reads lengths of used descriptors for as long as they are in bounds.
 * @param written gets them, from `to` on
 * @param last gets the one that is not
 * @returns how many
 */
export function takeLengths(
  area: PackedDeviceArea,
  slot: number,
  run: number,
  capacity: number,
  written: Uint32Array,
  to: number,
  last: Uint32Array,
): number {
  let i = 0
  let length = 0
  while (i < run) {
    length = area.usedLength(slot + i)
    if (length > capacity) break
    written[to + i] = length
    if (++i === run) break
    length = area.usedLength(slot + i)
    if (length > capacity) break
    written[to + i] = length
    if (++i === run) break
    length = area.usedLength(slot + i)
    if (length > capacity) break
    written[to + i] = length
    if (++i === run) break
    length = area.usedLength(slot + i)
    if (length > capacity) break
    written[to + i] = length
    ++i
  }
  last[0] = length
  return i
}
