import { BlockConfig, BlockZone } from '@virtio-ts/spec'

const { SECTOR } = BlockConfig
const HIGH_WORD = 2 ** 32

export type ZoneType = 'conventional' | 'sequential-required' | 'sequential-preferred'
export type ZoneState =
  | 'not-write-pointer'
  | 'empty'
  | 'implicitly-open'
  | 'explicitly-open'
  | 'closed'
  | 'read-only'
  | 'full'
  | 'offline'

const types: ReadonlyMap<number, ZoneType> = new Map([
  [BlockZone.ZT_CONV, 'conventional'],
  [BlockZone.ZT_SWR, 'sequential-required'],
  [BlockZone.ZT_SWP, 'sequential-preferred'],
])

const states: ReadonlyMap<number, ZoneState> = new Map([
  [BlockZone.ZS_NOT_WP, 'not-write-pointer'],
  [BlockZone.ZS_EMPTY, 'empty'],
  [BlockZone.ZS_IOPEN, 'implicitly-open'],
  [BlockZone.ZS_EOPEN, 'explicitly-open'],
  [BlockZone.ZS_CLOSED, 'closed'],
  [BlockZone.ZS_RDONLY, 'read-only'],
  [BlockZone.ZS_FULL, 'full'],
  [BlockZone.ZS_OFFLINE, 'offline'],
])

/** A zone, as the device reports it; in bytes. @see VIRTIO 1.3 § 5.2.6 "Device Operation" */
export interface Zone {
  readonly offset: number
  /** Bytes that can be written when it is empty. */
  readonly capacity: number
  readonly type: ZoneType
  readonly state: ZoneState
  /** Where the next write goes; undefined where there is no such place. */
  readonly writePointer: number | undefined
}

const withoutPointer: ReadonlySet<ZoneState> = new Set<ZoneState>(['not-write-pointer', 'read-only', 'full', 'offline'])

/**
 * Reads a zone descriptor of a report.
 * @param expected where the zone has to begin
 * @returns undefined for one that cannot be
 */
export function readZone(view: DataView, at: number, expected: number, zoneSize: number): Zone | undefined {
  const capacity = bytes(view, at + BlockZone.CAPACITY)
  const offset = bytes(view, at + BlockZone.START)
  const pointer = bytes(view, at + BlockZone.WRITE_POINTER)
  const type = types.get(view.getUint8(at + BlockZone.TYPE))
  const state = states.get(view.getUint8(at + BlockZone.STATE))
  if (type === undefined || state === undefined || offset !== expected || capacity > zoneSize) return undefined
  const writePointer = withoutPointer.has(state) ? undefined : pointer
  if (writePointer !== undefined && (writePointer < offset || writePointer > offset + zoneSize)) return undefined
  return { offset, capacity, type, state, writePointer }
}

/** A 64-bit number of sectors, in bytes; what is not exact is far beyond every zone. */
function bytes(view: DataView, at: number): number {
  return (view.getUint32(at, true) + view.getUint32(at + 4, true) * HIGH_WORD) * SECTOR
}
