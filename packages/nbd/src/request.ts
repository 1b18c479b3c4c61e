import { Magic } from './constants.ts'

/** A request's header. */
export interface NbdRequest {
  readonly flags: number
  readonly type: number
  /** The client's name for it, 64 bits, as two halves. */
  readonly cookie: readonly [number, number]
  /** In bytes; what a number cannot tell exactly is beyond every disk. */
  readonly offset: number
  readonly length: number
}

/** @returns undefined where there is no request, and so nothing that could be read after it either */
export function parseRequest(bytes: Buffer): NbdRequest | undefined {
  if (bytes.readUInt32BE(0) !== Magic.REQUEST) return undefined
  return {
    flags: bytes.readUInt16BE(4),
    type: bytes.readUInt16BE(6),
    cookie: [bytes.readUInt32BE(8), bytes.readUInt32BE(12)],
    offset: bytes.readUInt32BE(16) * 2 ** 32 + bytes.readUInt32BE(20),
    length: bytes.readUInt32BE(24),
  }
}
