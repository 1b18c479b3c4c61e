import type { Socket } from 'node:net'
import { ALLOCATION, Chunk, CHUNK_DONE, Magic } from './constants.ts'
import { NbdErrno, type NbdError } from './nbd-error.ts'
import type { NbdRequest } from './request.ts'
import { zeroRuns } from './zero-runs.ts'

const SIMPLE_LENGTH = 16
const CHUNK_LENGTH = 20
/** In characters, so that no more than the 4096 bytes of a string come of it. */
const LONGEST_MESSAGE = 1000

/** Writes replies. Every method resolves when the bytes have left this process, or never will. */
export class ReplyWriter {
  readonly #socket: Socket
  readonly #structured: boolean

  constructor(socket: Socket, structured: boolean) {
    this.#socket = socket
    this.#structured = structured
  }

  /** Of everything that answers with no data. */
  done(request: NbdRequest): Promise<void> {
    return this.#write([this.#structured ? chunkHeader(request, Chunk.NONE, 0, true) : simpleHeader(request, 0)])
  }

  failed(request: NbdRequest, error: NbdError): Promise<void> {
    const errno = NbdErrno[error.code]
    if (!this.#structured) return this.#write([simpleHeader(request, errno)])
    const message = Buffer.from(error.message.slice(0, LONGEST_MESSAGE))
    const payload = Buffer.alloc(6)
    payload.writeUInt32BE(errno, 0)
    payload.writeUInt16BE(message.length, 4)
    return this.#write([chunkHeader(request, Chunk.ERROR, 6 + message.length, true), payload, message])
  }

  /** @param whole in one piece, as the client wants it */
  data(request: NbdRequest, bytes: Uint8Array, whole: boolean): Promise<void> {
    if (!this.#structured) return this.#write([simpleHeader(request, 0), bytes])
    if (bytes.length === 0) return this.done(request)
    const runs = whole ? [{ start: 0, end: bytes.length, zero: false }] : zeroRuns(bytes)
    return this.#write(
      runs.flatMap(({ start, end, zero }) => {
        const isLast = end === bytes.length
        const at = Buffer.alloc(zero ? 12 : 8)
        writeOffset(at, 0, request.offset + start)
        if (!zero) {
          const header = chunkHeader(request, Chunk.OFFSET_DATA, 8 + end - start, isLast)
          return [header, at, bytes.subarray(start, end)]
        }
        at.writeUInt32BE(end - start, 8)
        return [chunkHeader(request, Chunk.OFFSET_HOLE, 12, isLast), at]
      }),
    )
  }

  /** One extent of which nothing is known: its length, and status 0. */
  status(request: NbdRequest): Promise<void> {
    const payload = Buffer.alloc(12)
    payload.writeUInt32BE(ALLOCATION.id, 0)
    payload.writeUInt32BE(request.length, 4)
    return this.#write([chunkHeader(request, Chunk.BLOCK_STATUS, payload.length, true), payload])
  }

  #write(pieces: readonly Uint8Array[]): Promise<void> {
    return writeAll(this.#socket, pieces)
  }
}

/** Writes pieces as one. Resolves when they have left this process, or never will: a broken connection is its reader's to notice. */
export function writeAll(socket: Socket, pieces: readonly Uint8Array[]): Promise<void> {
  return new Promise((resolve) => {
    if (socket.destroyed || !socket.writable) return resolve()
    socket.cork()
    for (const piece of pieces.slice(0, -1)) socket.write(piece)
    socket.write(pieces.at(-1) ?? Buffer.alloc(0), () => resolve())
    socket.uncork()
  })
}

export function writeOffset(bytes: Buffer, at: number, offset: number): void {
  bytes.writeUInt32BE(Math.floor(offset / 2 ** 32), at)
  bytes.writeUInt32BE(offset % 2 ** 32, at + 4)
}

function simpleHeader({ cookie }: NbdRequest, errno: number): Buffer {
  const header = Buffer.alloc(SIMPLE_LENGTH)
  header.writeUInt32BE(Magic.SIMPLE_REPLY, 0)
  header.writeUInt32BE(errno, 4)
  header.writeUInt32BE(cookie[0], 8)
  header.writeUInt32BE(cookie[1], 12)
  return header
}

function chunkHeader({ cookie }: NbdRequest, type: number, length: number, isLast: boolean): Buffer {
  const header = Buffer.alloc(CHUNK_LENGTH)
  header.writeUInt32BE(Magic.STRUCTURED_REPLY, 0)
  header.writeUInt16BE(isLast ? CHUNK_DONE : 0, 4)
  header.writeUInt16BE(type, 6)
  header.writeUInt32BE(cookie[0], 8)
  header.writeUInt32BE(cookie[1], 12)
  header.writeUInt32BE(length, 16)
  return header
}
