import { SplitRing } from '@virtio-ts/spec'
import type { RingPosition } from '../device-ring.ts'

const FIRST_OF_PACKED = 0x8000

interface Base {
  /** As SET_VRING_BASE has it; undefined when there was none. */
  readonly base: number | undefined
  readonly packed: boolean
  /** Go on at what was used last: what was taken after that is still to be done. */
  readonly fromUsedIndex: boolean
  /** The beginning of the ring's device area. */
  readonly deviceArea: Uint8Array | undefined
}

/**
 * Where a ring begins; undefined: at the beginning of a new one.
 * @see vhost-user "A vring descriptor index for split virtqueues" and "Vring descriptor indices for packed virtqueues"
 */
export function decodeBase({ base, packed, fromUsedIndex, deviceArea }: Base): RingPosition | undefined {
  if (packed) {
    const low = (base ?? FIRST_OF_PACKED) & 0xffff
    // Front-ends older than this part of the protocol leave the upper half 0: both are at the same place.
    const high = (base ?? 0) >>> 16 || low
    if (low === FIRST_OF_PACKED && high === FIRST_OF_PACKED) return undefined
    return { taken: fromUsedIndex ? high : low, used: high }
  }
  const taken = (base ?? 0) & 0xffff
  const used = deviceArea
    ? new DataView(deviceArea.buffer, deviceArea.byteOffset).getUint16(SplitRing.USED_IDX, true)
    : taken
  if (taken === 0 && (used === 0 || !fromUsedIndex)) return undefined
  return { taken: fromUsedIndex ? used : taken, used }
}

/** What GET_VRING_BASE says of a ring that is so far. */
export function encodeBase({ taken, used }: RingPosition, packed: boolean): number {
  return packed ? (taken | (used << 16)) >>> 0 : taken
}
