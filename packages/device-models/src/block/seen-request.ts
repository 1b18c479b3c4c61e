import { BlockRequest } from '@virtio-ts/spec'
import type { DescriptorChain } from '../descriptor-chain.ts'

/** A request as the device sees it: a copy of what the driver wrote, and how much it may write itself. */
export interface SeenRequest {
  readonly type: number
  /** In 512-byte sectors; beyond 2^53 not exact, which is beyond every device. */
  readonly sector: number
  /** Device-readable bytes behind the header. */
  readonly data: Uint8Array
  /** Device-writable bytes in front of the status byte. */
  readonly room: number
}

/** @returns undefined for a chain without room for header and status */
export function seeRequest(chain: DescriptorChain): SeenRequest | undefined {
  const { HEADER_LENGTH, TYPE, SECTOR } = BlockRequest
  if (chain.readableLength < HEADER_LENGTH || chain.writableLength < 1) return undefined
  const bytes = chain.read()
  const view = new DataView(bytes.buffer)
  return {
    type: view.getUint32(TYPE, true),
    sector: Number(view.getBigUint64(SECTOR, true)),
    data: bytes.subarray(HEADER_LENGTH),
    room: chain.writableLength - 1,
  }
}
