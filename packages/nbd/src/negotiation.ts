import type { Socket } from 'node:net'
import {
  ALLOCATION,
  HandshakeFlag,
  Info,
  Magic,
  MAX_PAYLOAD,
  Option,
  OptionReply,
  TransmissionFlag,
} from './constants.ts'
import type { NbdExport, NbdExportInfo, NbdSession } from './nbd-export.ts'
import { parseInfoRequest, parseMetaContextRequest, parseString } from './option-data.ts'
import { writeAll, writeOffset } from './reply-writer.ts'
import type { SocketReader } from './socket-reader.ts'

/** Data of an option that is looked at; longer data is let go, and the option refused. */
const LONGEST_OPTION = 64 * 1024
/** What is longer than this is no option. */
const LONGEST_SKIPPED = 1024 * 1024
const OPTION_HEADER = 16
const RESERVED = 124

/** What a client and this server have agreed upon. */
export interface Agreement {
  readonly session: NbdSession
  readonly structured: boolean
  /** Whether the client may ask for block status. */
  readonly allocation: boolean
}

/** Thrown for what the protocol has no answer to but to hang up. */
export class ProtocolViolation extends Error {
  constructor(what: string) {
    super(what)
    this.name = 'ProtocolViolation'
  }
}

/** The first phase of a connection: fixed newstyle negotiation. */
export class Negotiation {
  readonly #socket: Socket
  readonly #reader: SocketReader
  readonly #exports: readonly NbdExport[]
  #zeroes = true
  #structured = false
  /** The name of the export that the client set `base:allocation` for. */
  #allocationOf: string | undefined

  constructor(socket: Socket, reader: SocketReader, exports: readonly NbdExport[]) {
    this.#socket = socket
    this.#reader = reader
    this.#exports = exports
  }

  /**
   * @returns undefined when the client has ended it
   * @throws ProtocolViolation, ConnectionEnded
   */
  async run(): Promise<Agreement | undefined> {
    const greeting = Buffer.alloc(18)
    writeMagic(greeting, 0, Magic.NBDMAGIC)
    writeMagic(greeting, 8, Magic.IHAVEOPT)
    greeting.writeUInt16BE(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES, 16)
    await writeAll(this.#socket, [greeting])
    const flags = (await this.#reader.take(4)).readUInt32BE(0)
    if ((flags & ~(HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES)) !== 0)
      throw new ProtocolViolation(`the client sets flags that nobody knows: 0x${flags.toString(16)}`)
    this.#zeroes = (flags & HandshakeFlag.NO_ZEROES) === 0
    for (;;) {
      const header = await this.#reader.take(OPTION_HEADER)
      if (header.readUInt32BE(0) !== Magic.IHAVEOPT[0] || header.readUInt32BE(4) !== Magic.IHAVEOPT[1])
        throw new ProtocolViolation('the client sends something that is no option')
      const option = header.readUInt32BE(8)
      const length = header.readUInt32BE(12)
      if (length > LONGEST_SKIPPED) throw new ProtocolViolation(`the client announces an option of ${length} bytes`)
      if (length > LONGEST_OPTION && option !== Option.EXPORT_NAME) {
        await this.#reader.skip(length)
        await this.#reply(option, OptionReply.ERR_TOO_BIG, `${length} bytes are too many for an option`)
        continue
      }
      const ended = await this.#option(option, await this.#reader.take(length))
      if (ended !== undefined) return ended === 'aborted' ? undefined : ended
    }
  }

  async #option(option: number, data: Buffer): Promise<Agreement | 'aborted' | undefined> {
    switch (option) {
      case Option.EXPORT_NAME:
        return this.#exportName(data)
      case Option.ABORT:
        await this.#reply(option, OptionReply.ACK)
        return 'aborted'
      case Option.LIST:
        return this.#list(data)
      case Option.INFO:
      case Option.GO:
        return this.#info(option, data)
      case Option.STRUCTURED_REPLY:
        if (data.length > 0) return this.#invalid(option, 'this option has no data')
        this.#structured = true
        return this.#reply(option, OptionReply.ACK)
      case Option.LIST_META_CONTEXT:
      case Option.SET_META_CONTEXT:
        return this.#metaContext(option, data)
      default:
        return this.#reply(option, OptionReply.ERR_UNSUP, 'this server does not know the option')
    }
  }

  async #exportName(data: Buffer): Promise<Agreement> {
    const name = parseString(data)
    const found = name === undefined ? undefined : this.#find(name)
    // There is no other way to refuse it.
    if (name === undefined || found === undefined)
      throw new ProtocolViolation('the client asks for an export that is not there')
    const session = found.connect()
    const answer = Buffer.alloc(this.#zeroes ? 10 + RESERVED : 10)
    writeOffset(answer, 0, session.info.size)
    answer.writeUInt16BE(transmissionFlags(session.info, this.#structured), 8)
    await writeAll(this.#socket, [answer])
    return this.#agreement(name, session)
  }

  async #list(data: Buffer): Promise<undefined> {
    if (data.length > 0) return this.#invalid(Option.LIST, 'this option has no data')
    for (const { name, description = '' } of this.#exports) {
      const bytes = Buffer.from(name)
      const length = Buffer.alloc(4)
      length.writeUInt32BE(bytes.length, 0)
      await this.#reply(Option.LIST, OptionReply.SERVER, Buffer.concat([length, bytes, Buffer.from(description)]))
    }
    return this.#reply(Option.LIST, OptionReply.ACK)
  }

  async #info(option: number, data: Buffer): Promise<Agreement | undefined> {
    const request = parseInfoRequest(data)
    if (request === undefined) return this.#invalid(option, 'the data of this option is malformed')
    const found = this.#find(request.name)
    if (found === undefined) return this.#unknown(option)
    let session: NbdSession
    try {
      session = found.connect()
    } catch (error) {
      return this.#reply(option, OptionReply.ERR_UNKNOWN, (error as Error).message)
    }
    const { size, preferredBlockSize } = session.info
    const info = Buffer.alloc(12)
    info.writeUInt16BE(Info.EXPORT, 0)
    writeOffset(info, 2, size)
    info.writeUInt16BE(transmissionFlags(session.info, this.#structured), 10)
    await this.#reply(option, OptionReply.INFO, info)
    const sizes = Buffer.alloc(14)
    sizes.writeUInt16BE(Info.BLOCK_SIZE, 0)
    sizes.writeUInt32BE(1, 2)
    sizes.writeUInt32BE(preferredBlockSize, 6)
    sizes.writeUInt32BE(MAX_PAYLOAD, 10)
    await this.#reply(option, OptionReply.INFO, sizes)
    const texts = [
      [Info.NAME, found.name],
      [Info.DESCRIPTION, found.description],
    ] as const
    for (const [kind, text] of texts) {
      if (text === undefined || !request.infos.includes(kind)) continue
      await this.#reply(option, OptionReply.INFO, Buffer.concat([Buffer.from([0, kind]), Buffer.from(text)]))
    }
    await this.#reply(option, OptionReply.ACK)
    return option === Option.GO ? this.#agreement(request.name, session) : undefined
  }

  async #metaContext(option: number, data: Buffer): Promise<undefined> {
    const isSet = option === Option.SET_META_CONTEXT
    if (isSet) this.#allocationOf = undefined
    if (!this.#structured) return this.#invalid(option, 'structured replies come first')
    const request = parseMetaContextRequest(data)
    if (request === undefined) return this.#invalid(option, 'the data of this option is malformed')
    if (this.#find(request.name) === undefined) return this.#unknown(option)
    const { queries } = request
    const matches = isSet
      ? queries.includes(ALLOCATION.name)
      : queries.length === 0 || queries.some((query) => query === 'base:' || query === ALLOCATION.name)
    if (matches) {
      const context = Buffer.concat([Buffer.alloc(4), Buffer.from(ALLOCATION.name)])
      if (isSet) context.writeUInt32BE(ALLOCATION.id, 0)
      await this.#reply(option, OptionReply.META_CONTEXT, context)
    }
    if (isSet && matches) this.#allocationOf = request.name
    return this.#reply(option, OptionReply.ACK)
  }

  /** The empty name is the first export's, whatever that is called. */
  #find(name: string): NbdExport | undefined {
    return this.#exports.find((candidate) => candidate.name === name) ?? (name === '' ? this.#exports[0] : undefined)
  }

  #agreement(name: string, session: NbdSession): Agreement {
    return { session, structured: this.#structured, allocation: this.#allocationOf === name }
  }

  #invalid(option: number, message: string): Promise<undefined> {
    return this.#reply(option, OptionReply.ERR_INVALID, message)
  }

  #unknown(option: number): Promise<undefined> {
    return this.#reply(option, OptionReply.ERR_UNKNOWN, 'there is no export of that name')
  }

  async #reply(option: number, type: number, data: string | Buffer = ''): Promise<undefined> {
    const bytes = typeof data === 'string' ? Buffer.from(data.slice(0, 1000)) : data
    const header = Buffer.alloc(20)
    writeMagic(header, 0, Magic.OPTION_REPLY)
    header.writeUInt32BE(option, 8)
    header.writeUInt32BE(type, 12)
    header.writeUInt32BE(bytes.length, 16)
    // Waited for: a client that does not read its answers is not answered any further.
    await writeAll(this.#socket, [header, bytes])
    return undefined
  }
}

function transmissionFlags(info: NbdExportInfo, structured: boolean): number {
  const F = TransmissionFlag
  let flags: number = F.HAS_FLAGS | F.SEND_FLUSH | F.SEND_FUA
  if (structured) flags |= F.SEND_DF
  if (info.multiConn) flags |= F.CAN_MULTI_CONN
  if (info.readOnly) return flags | F.READ_ONLY
  if (info.trim) flags |= F.SEND_TRIM
  if (info.writeZeroes) flags |= F.SEND_WRITE_ZEROES | F.SEND_FAST_ZERO
  return flags
}

function writeMagic(bytes: Buffer, at: number, [high, low]: readonly [number, number]): void {
  bytes.writeUInt32BE(high, at)
  bytes.writeUInt32BE(low, at + 4)
}
