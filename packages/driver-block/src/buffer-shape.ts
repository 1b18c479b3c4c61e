import type { RequestBuffer } from '@virtio-ts/core'
import type { DirectBuffers } from './block-options.ts'
import type { Bytes } from './byte-list.ts'

/** Bytes of one array or buffer, or of all of them together. */
export function lengthOf(parts: Bytes | DirectBuffers): number {
  if (!Array.isArray(parts)) return (parts as Uint8Array | RequestBuffer).length
  let length = 0
  for (const part of parts as readonly (Uint8Array | RequestBuffer)[]) length += part.length
  return length
}

/** The only buffer there is; undefined where there are none, or several. */
export function loneOf(buffers: DirectBuffers): RequestBuffer | undefined {
  if (!Array.isArray(buffers)) return buffers as RequestBuffer
  return buffers.length === 1 ? buffers[0] : undefined
}
