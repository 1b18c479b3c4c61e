import { fstatSync } from 'node:fs'
import { type Mapping, mapShared, SystemError } from '@virtio-ts/native'
import type { MemoryBlock } from '../device-memory.ts'
import { Refused } from './refused.ts'
import { VhostUserRules } from './vhost-user-rules.ts'

/** A memory region as a front-end describes it; 64-bit numbers, none of them checked. */
export interface RegionDescription {
  readonly guestAddress: bigint
  readonly size: bigint
  readonly userAddress: bigint
  readonly mapOffset: bigint
}

/** A region that is mapped. */
export interface MappedRegion {
  readonly description: RegionDescription
  readonly blocks: readonly MemoryBlock[]
  readonly mappings: readonly Mapping[]
}

const PAGE = 4096
/** A view has a largest length: what is longer is mapped in pieces, which overlap so that no ring falls between two. */
const STRIDE = 2 ** 30
const OVERLAP = 2 ** 26
const END_OF_ADDRESSES = 2n ** 64n

/**
 * Maps a region out of a front-end's file. The file stays the caller's to close; whether its owner cuts it off later is out of the
 * back-end's hands (an access would be a SIGBUS) unless it is sealed.
 * @throws Refused when the description does not fit the file or is none
 */
export function mapRegion(description: RegionDescription, fd: number): MappedRegion {
  const { guestAddress, size, userAddress, mapOffset } = description
  const refuse = (text: string): Refused =>
    new Refused(
      VhostUserRules.MEMORY,
      `a region of ${size} bytes at guest address 0x${guestAddress.toString(16)}: ${text}`,
    )
  if (size === 0n) throw refuse('it is empty')
  if (guestAddress + size > BigInt(Number.MAX_SAFE_INTEGER)) throw refuse('its end is beyond 2^53')
  if (userAddress + size > END_OF_ADDRESSES) throw refuse(`its user address 0x${userAddress.toString(16)} wraps`)
  if (mapOffset + size > BigInt(Number.MAX_SAFE_INTEGER)) throw refuse(`its offset ${mapOffset} leads nowhere`)
  const file = fstatSync(fd)
  if (!file.isFile()) throw refuse('its descriptor is no file')
  if (Number(mapOffset + size) > file.size)
    throw refuse(`its file ends at ${file.size}, before offset ${mapOffset} and size`)
  // Files in huge pages have their page as block size.
  const page = file.blksize > PAGE && Number.isInteger(Math.log2(file.blksize)) ? file.blksize : PAGE
  const start = Math.floor(Number(mapOffset) / page) * page
  const skip = Number(mapOffset) - start
  const length = Math.ceil((skip + Number(size)) / page) * page
  const blocks: MemoryBlock[] = []
  const mappings: Mapping[] = []
  try {
    for (let at = 0; at < length; at += STRIDE) {
      const mapping = mapShared(fd, Math.min(STRIDE + OVERLAP, length - at), start + at)
      mappings.push(mapping)
      const from = at === 0 ? skip : 0
      const to = Math.min(mapping.bytes.length, skip + Number(size) - at)
      blocks.push({ bytes: mapping.bytes.subarray(from, to), deviceAddress: Number(guestAddress) + at + from - skip })
    }
  } catch (error) {
    for (const mapping of mappings) mapping.unmap()
    if (!(error instanceof SystemError || error instanceof RangeError)) throw error
    throw refuse(error.message)
  }
  return { description, blocks, mappings }
}
