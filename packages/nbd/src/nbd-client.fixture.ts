import { connect, type Socket } from 'node:net'

/** One chunk of a structured reply, or a simple reply. */
export interface Reply {
  readonly kind: 'simple' | 'chunk'
  readonly cookie: bigint
  /** Of a simple reply, or of an error chunk. */
  readonly error: number
  readonly type: number
  readonly done: boolean
  readonly payload: Buffer
}

export interface OptionAnswer {
  readonly type: number
  readonly data: Buffer
}

/** A client for tests, written from the protocol alone and without the server's own code: bytes out, bytes in. */
export class NbdClient {
  readonly socket: Socket
  #pieces: Buffer[] = []
  #buffered = 0
  #ended = false
  #wakeUp: () => void = () => {}
  #cookie = 0n
  size = 0
  flags = 0

  constructor(path: string) {
    this.socket = connect(path)
    this.socket.on('data', (piece: Buffer) => {
      this.#pieces.push(piece)
      this.#buffered += piece.length
      this.#wakeUp()
    })
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      this.#ended = true
      this.#wakeUp()
    })
    this.socket.on('end', () => {
      this.#ended = true
      this.#wakeUp()
    })
  }

  /** Greets, and goes to the export with structured replies, or without. */
  static async open(path: string, { name = '', structured = true, allocation = false } = {}): Promise<NbdClient> {
    const client = new NbdClient(path)
    await client.greet()
    if (structured) await client.option(8)
    if (allocation) await client.option(10, metaQuery(name, ['base:allocation']))
    await client.go(name)
    return client
  }

  get ended(): boolean {
    return this.#ended
  }

  /** The next bytes. @throws when the server hangs up first */
  async take(length: number): Promise<Buffer> {
    while (this.#buffered < length) {
      if (this.#ended) throw new Error(`the server hung up: ${this.#buffered} of ${length} bytes`)
      await new Promise<void>((resolve) => (this.#wakeUp = resolve))
    }
    const all = Buffer.concat(this.#pieces)
    const bytes = all.subarray(0, length)
    this.#pieces = [all.subarray(length)]
    this.#buffered -= length
    return bytes
  }

  /** Resolves when the server has hung up. */
  async untilEnded(): Promise<void> {
    while (!this.#ended) await new Promise<void>((resolve) => (this.#wakeUp = resolve))
  }

  send(...bytes: Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes))
  }

  async greet(flags = 3): Promise<number> {
    const greeting = await this.take(18)
    if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw new Error('not an NBD server')
    this.send(u32(flags))
    return greeting.readUInt16BE(16)
  }

  sendOption(option: number, data: Uint8Array = Buffer.alloc(0)): void {
    this.send(Buffer.from('IHAVEOPT'), u32(option), u32(data.length), data)
  }

  /** Sends an option and takes all answers to it. */
  async option(option: number, data?: Uint8Array): Promise<OptionAnswer[]> {
    this.sendOption(option, data)
    return this.answers()
  }

  async answers(): Promise<OptionAnswer[]> {
    const answers: OptionAnswer[] = []
    for (;;) {
      const header = await this.take(20)
      if (header.readBigUInt64BE(0) !== 0x3e889045565a9n) throw new Error('no answer to an option')
      const type = header.readUInt32BE(12)
      answers.push({ type, data: await this.take(header.readUInt32BE(16)) })
      if (type === 1 || type >= 2 ** 31) return answers
    }
  }

  /** NBD_OPT_GO. @throws when it is refused */
  async go(name = ''): Promise<OptionAnswer[]> {
    const answers = await this.option(7, infoQuery(name, [3]))
    const last = answers.at(-1)
    if (last?.type !== 1) throw new Error(`refused: ${last?.data.toString()}`)
    const info = answers.find(({ type, data }) => type === 3 && data.readUInt16BE(0) === 0)
    this.size = Number(info?.data.readBigUInt64BE(2))
    this.flags = info?.data.readUInt16BE(10) ?? 0
    return answers
  }

  /** Sends a request. @returns its cookie */
  request(
    type: number,
    offset: number | bigint,
    length: number,
    { flags = 0, data = Buffer.alloc(0) }: { flags?: number; data?: Buffer } = {},
  ): bigint {
    const cookie = ++this.#cookie
    const header = Buffer.alloc(28)
    header.writeUInt32BE(0x25609513, 0)
    header.writeUInt16BE(flags, 4)
    header.writeUInt16BE(type, 6)
    header.writeBigUInt64BE(cookie, 8)
    header.writeBigUInt64BE(BigInt(offset), 16)
    header.writeUInt32BE(length, 24)
    this.send(header, data)
    return cookie
  }

  /** The next reply. @param simpleData bytes that follow a simple reply without an error */
  async reply(simpleData = 0): Promise<Reply> {
    const magic = (await this.take(4)).readUInt32BE(0)
    if (magic === 0x67446698) {
      const rest = await this.take(12)
      const error = rest.readUInt32BE(0)
      const payload = await this.take(error === 0 ? simpleData : 0)
      return { kind: 'simple', cookie: rest.readBigUInt64BE(4), error, type: -1, done: true, payload }
    }
    if (magic !== 0x668e33ef) throw new Error(`not a reply: 0x${magic.toString(16)}`)
    const rest = await this.take(16)
    const type = rest.readUInt16BE(2)
    const payload = await this.take(rest.readUInt32BE(12))
    const error = type === 0x8001 ? payload.readUInt32BE(0) : 0
    const done = (rest.readUInt16BE(0) & 1) !== 0
    return { kind: 'chunk', cookie: rest.readBigUInt64BE(4), error, type, done, payload }
  }

  /** Sends a request and takes all of its reply, when no other is under way. */
  async ask(
    type: number,
    offset: number | bigint,
    length: number,
    options: { flags?: number; data?: Buffer } = {},
  ): Promise<Reply[]> {
    const cookie = this.request(type, offset, length, options)
    const replies: Reply[] = []
    do replies.push(await this.reply(type === 0 ? length : 0))
    while (!replies.at(-1)?.done)
    if (replies.some((reply) => reply.cookie !== cookie)) throw new Error('a reply to something else')
    return replies
  }

  /** The errno of a request, 0 for none. */
  async errnoOf(
    type: number,
    offset: number | bigint,
    length: number,
    options: { flags?: number; data?: Buffer } = {},
  ): Promise<number> {
    return (await this.ask(type, offset, length, options)).reduce((found, { error }) => found || error, 0)
  }

  /** Reads, with structured replies: what came, and how it was cut. */
  async read(offset: number, length: number, flags = 0): Promise<{ bytes: Buffer; chunks: string[] }> {
    const bytes = Buffer.alloc(length, 0xee)
    const chunks: string[] = []
    for (const { type, payload, error } of await this.ask(0, offset, length, { flags })) {
      if (error !== 0) throw new Error(`errno ${error}: ${payload.subarray(6).toString()}`)
      if (type === 0) continue
      const at = Number(payload.readBigUInt64BE(0)) - offset
      if (type === 1) bytes.set(payload.subarray(8), at)
      else bytes.fill(0, at, at + payload.readUInt32BE(8))
      chunks.push(`${type === 1 ? 'data' : 'hole'} ${type === 1 ? payload.length - 8 : payload.readUInt32BE(8)}`)
    }
    return { bytes, chunks }
  }

  async write(offset: number, data: Buffer, flags = 0): Promise<void> {
    const errno = await this.errnoOf(1, offset, data.length, { flags, data })
    if (errno !== 0) throw new Error(`errno ${errno}`)
  }

  close(): void {
    this.socket.destroy()
  }
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value, 0)
  return bytes
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value, 0)
  return bytes
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([u32(bytes.length), bytes])
}

/** Data of INFO and GO. */
export function infoQuery(name: string, infos: readonly number[] = []): Buffer {
  return Buffer.concat([text(name), u16(infos.length), ...infos.map(u16)])
}

/** Data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function metaQuery(name: string, queries: readonly string[]): Buffer {
  return Buffer.concat([text(name), u32(queries.length), ...queries.map(text)])
}
