import { fstatSync } from 'node:fs'
import { close, memfdCreate, readAt, truncate, writeAt } from '@virtio-ts/native'
import { Refused } from './refused.ts'
import { VhostUserRules } from './vhost-user-rules.ts'

/** "Inflight description" */
export interface InFlightDescription {
  readonly size: bigint
  readonly offset: bigint
  readonly queues: number
  readonly queueSize: number
}

const VERSION = 1
const SPLIT = { header: 16, entry: 16 }
const PACKED = { header: 32, entry: 32 }
const REGION_ALIGNMENT = 64

/**
 * Memory in which a back-end keeps account of buffers that it has taken and not used, so that another one can go on after a crash. These
 * devices use each buffer in the turn of the event loop in which they take it, and in order: none is ever in flight, and the area
 * says so. Whoever goes on begins at the used index.
 */
export const inFlightArea: {
  /** @returns a descriptor for the caller to close */
  create(queues: number, queueSize: number, packed: boolean): { fd: number; description: InFlightDescription }
  /** @throws Refused when it is no such area */
  check(description: InFlightDescription, fd: number, packed: boolean): void
} = {
  create(queues, queueSize, packed) {
    const length = regionLength(queueSize, packed)
    const fd = memfdCreate('virtio-ts-in-flight')
    try {
      truncate(fd, queues * length)
      for (let n = 0; n < queues; n++) writeAt(fd, emptyRegion(queueSize, packed), n * length)
    } catch (error) {
      close(fd)
      throw error
    }
    return { fd, description: { size: BigInt(queues * length), offset: 0n, queues, queueSize } }
  },
  check({ size, offset, queues, queueSize }, fd, packed) {
    const refuse = (text: string): Refused =>
      new Refused(VhostUserRules.IN_FLIGHT, `an area for buffers in flight ${text}`)
    const length = regionLength(queueSize, packed)
    if (size < BigInt(queues * length)) throw refuse(`of ${size} bytes for ${queues} queues of ${queueSize}`)
    const file = fstatSync(fd)
    if (!file.isFile() || offset + size > BigInt(file.size)) throw refuse(`beyond the end of its file`)
    for (let n = 0; n < queues; n++) {
      const found = new Uint8Array(12)
      readAt(fd, found, Number(offset) + n * length)
      const version = new DataView(found.buffer).getUint16(8, true)
      // Version 0 is an area nobody has used.
      if (version > VERSION) throw refuse(`of version ${version}`)
    }
  },
}

function regionLength(queueSize: number, packed: boolean): number {
  const { header, entry } = packed ? PACKED : SPLIT
  return Math.ceil((header + entry * queueSize) / REGION_ALIGNMENT) * REGION_ALIGNMENT
}

/** QueueRegionSplit and QueueRegionPacked begin alike: features, version, desc_num. */
function emptyRegion(queueSize: number, packed: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(regionLength(queueSize, packed)))
  view.setUint16(8, VERSION, true)
  view.setUint16(10, queueSize, true)
  if (packed) {
    // used_wrap_counter and old_used_wrap_counter begin with 1; all entries are in the list of free ones, linked by `next`.
    view.setUint8(20, 1)
    view.setUint8(21, 1)
    for (let n = 0; n < queueSize; n++) view.setUint16(PACKED.header + PACKED.entry * n + 2, n + 1, true)
  }
  return new Uint8Array(view.buffer)
}
