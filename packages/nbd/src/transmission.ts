import type { Socket } from 'node:net'
import { Command, CommandFlag, MAX_PAYLOAD, REQUEST_LENGTH } from './constants.ts'
import { type Agreement, ProtocolViolation } from './negotiation.ts'
import { NbdError } from './nbd-error.ts'
import type { NbdSession } from './nbd-export.ts'
import { ReplyWriter } from './reply-writer.ts'
import { type NbdRequest, parseRequest } from './request.ts'
import type { SocketReader } from './socket-reader.ts'
import { Window } from './window.ts'

/** Which flags a command may have; FUA any may. */
const flagsOf: ReadonlyMap<number, number> = new Map<number, number>([
  [Command.READ, CommandFlag.DF],
  [Command.WRITE, 0],
  [Command.FLUSH, 0],
  [Command.TRIM, 0],
  [Command.WRITE_ZEROES, CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO],
  [Command.BLOCK_STATUS, CommandFlag.REQ_ONE],
])

const changes: ReadonlySet<number> = new Set([Command.WRITE, Command.TRIM, Command.WRITE_ZEROES])

export interface TransmissionLimits {
  /** Requests of one client that may be outstanding. */
  readonly requests: number
  /** Bytes of payload and answers that may be. */
  readonly bytes: number
}

/** The second phase of a connection: requests and replies, in any order, until the client has enough. */
export class Transmission {
  readonly #reader: SocketReader
  readonly #session: NbdSession
  readonly #agreement: Agreement
  readonly #replies: ReplyWriter
  readonly #window: Window
  #shuttingDown = false

  constructor(socket: Socket, reader: SocketReader, agreement: Agreement, limits: TransmissionLimits) {
    this.#reader = reader
    this.#agreement = agreement
    this.#session = agreement.session
    this.#replies = new ReplyWriter(socket, agreement.structured)
    this.#window = new Window(limits.requests, limits.bytes)
  }

  /** Bytes of payload and answers that are held for this client. */
  get held(): number {
    return this.#window.bytes
  }

  /**
   * Takes requests until the client says that it has no more.
   * @throws ProtocolViolation, ConnectionEnded; what was taken before goes on all the same, see `idle`
   */
  async run(): Promise<void> {
    for (;;) {
      const request = parseRequest(await this.#reader.take(REQUEST_LENGTH))
      if (request === undefined) throw new ProtocolViolation('the client sends something that is no request')
      if (request.type === Command.DISC) return
      const { length } = request
      const isWrite = request.type === Command.WRITE
      const refusal = this.#refusal(request)
      const cost = refusal === undefined && (isWrite || request.type === Command.READ) ? length : 0
      await this.#window.enter(cost)
      let pieces: Uint8Array[] = []
      try {
        // The payload of a refused write is on its way all the same.
        if (isWrite && refusal !== undefined) await this.#reader.skip(length)
        else if (isWrite) pieces = await this.#reader.takePieces(length)
      } catch (error) {
        this.#window.leave(cost)
        throw error
      }
      void this.#answer(request, pieces, refusal).then(() => this.#window.leave(cost))
    }
  }

  /** Refuses what comes from now on. */
  shutDown(): void {
    this.#shuttingDown = true
  }

  /** Resolves when every request that was taken is answered, or cannot be any more. */
  idle(): Promise<void> {
    return this.#window.empty()
  }

  /** What can be said of a request before anything is done. */
  #refusal({ type, flags, offset, length }: NbdRequest): NbdError | undefined {
    const { readOnly, size, trim, writeZeroes } = this.#session.info
    const allowed = flagsOf.get(type)
    if (allowed === undefined) return new NbdError('EINVAL', `this server knows no command ${type}`)
    const known = CommandFlag.FUA | (this.#agreement.structured ? allowed : allowed & ~CommandFlag.DF)
    if ((flags & ~known) !== 0)
      return new NbdError('EINVAL', `flags 0x${(flags & ~known).toString(16)} mean nothing with this command`)
    if (this.#shuttingDown) return new NbdError('ESHUTDOWN', 'this server is being shut down')
    if (changes.has(type) && readOnly) return new NbdError('EPERM', 'the export is read-only')
    if (type === Command.TRIM && !trim) return new NbdError('EINVAL', 'the export has no trim')
    if (type === Command.WRITE_ZEROES && !writeZeroes) return new NbdError('EINVAL', 'the export has no write zeroes')
    if (type === Command.BLOCK_STATUS && !this.#agreement.allocation)
      return new NbdError('EINVAL', 'no metadata context was negotiated')
    if (type === Command.FLUSH) return undefined
    if (offset + length > size) {
      const isFull = type === Command.WRITE || type === Command.WRITE_ZEROES
      return new NbdError(isFull ? 'ENOSPC' : 'EINVAL', `the export has ${size} bytes`)
    }
    const tooLong = length > MAX_PAYLOAD && (type === Command.READ || type === Command.WRITE)
    if (tooLong) return new NbdError(type === Command.READ ? 'EOVERFLOW' : 'EINVAL', `at most ${MAX_PAYLOAD} bytes`)
    if (type === Command.BLOCK_STATUS && length === 0) return new NbdError('EINVAL', 'no bytes, no status')
    return undefined
  }

  /** Never rejects. */
  async #answer(request: NbdRequest, pieces: readonly Uint8Array[], refusal: NbdError | undefined): Promise<void> {
    try {
      if (refusal !== undefined) throw refusal
      const data = await this.#execute(request, pieces)
      if (request.type === Command.BLOCK_STATUS) await this.#replies.status(request)
      else if (data !== undefined) await this.#replies.data(request, data, (request.flags & CommandFlag.DF) !== 0)
      else await this.#replies.done(request)
    } catch (error) {
      const told = error instanceof NbdError ? error : new NbdError('EIO', (error as Error)?.message ?? String(error))
      await this.#replies.failed(request, told)
    }
  }

  async #execute(
    { type, flags, offset, length }: NbdRequest,
    pieces: readonly Uint8Array[],
  ): Promise<Uint8Array | undefined> {
    const session = this.#session
    const fua = (flags & CommandFlag.FUA) !== 0
    switch (type) {
      case Command.READ:
        return session.read(offset, length)
      case Command.WRITE:
        await session.write(offset, pieces, fua)
        return undefined
      case Command.FLUSH:
        await session.flush()
        return undefined
      case Command.TRIM:
        await session.trim(offset, length, fua)
        return undefined
      case Command.WRITE_ZEROES: {
        const noHole = (flags & CommandFlag.NO_HOLE) !== 0
        await session.writeZeroes(offset, length, { noHole, fast: (flags & CommandFlag.FAST_ZERO) !== 0 }, fua)
        return undefined
      }
      default:
        return undefined
    }
  }
}
