import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { acceptUnix, close, listenUnix, receiveWithFds, sendWithFds, watchReadable } from '@virtio-ts/native'
import { VhostUserRequest as Request, VhostUserProtocolFeature } from '@virtio-ts/spec'

export interface RawMessage {
  readonly request: number
  readonly flags: number
  readonly payload: Uint8Array
  readonly fds: readonly number[]
}

/** Answers a message: the payload of the reply, or undefined for none. */
export type Answer = (message: RawMessage) => Uint8Array | undefined

export interface RawBackEndOptions {
  readonly features?: bigint
  readonly protocolFeatures?: bigint
  readonly queueCount?: number
  readonly config?: Uint8Array
  readonly answers?: Readonly<Record<number, Answer>>
}

const VERSION = 1
const REPLY = 4
const NEED_REPLY = 8
export const PROTOCOL_FEATURES_BIT = 1n << 30n

/** A message as it goes over the socket, put together by hand. */
export function raw(
  request: number,
  flags: number,
  payload: Uint8Array = new Uint8Array(0),
  size = payload.length,
): Uint8Array {
  const bytes = Buffer.alloc(12 + payload.length)
  bytes.writeUInt32LE(request, 0)
  bytes.writeUInt32LE(flags, 4)
  bytes.writeUInt32LE(size, 8)
  bytes.set(payload, 12)
  return new Uint8Array(bytes)
}

export function reply(request: number, payload: Uint8Array): Uint8Array {
  return raw(request, VERSION | REPLY, payload)
}

export function u64(value: bigint | number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt(value))
  return new Uint8Array(bytes)
}

export function u32s(...values: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(4 * values.length)
  values.forEach((value, i) => bytes.writeUInt32LE(value >>> 0, 4 * i))
  return new Uint8Array(bytes)
}

/** The bits of protocol features with these names. */
export function protocolFeatures(...names: readonly (keyof typeof VhostUserProtocolFeature)[]): bigint {
  return names.reduce((set, name) => set | (1n << BigInt(VhostUserProtocolFeature[name])), 0n)
}

/** The other end of a socket, answering each message from a table. Descriptors it gets are closed with it. */
export class RawPeer {
  readonly fd: number
  readonly received: RawMessage[] = []
  ended = false
  readonly #answers: Map<number, Answer>
  readonly #stop: () => void
  #buffer: Uint8Array = new Uint8Array(0)
  #fds: number[] = []
  #needReply = false

  constructor(fd: number, answers: Readonly<Record<number, Answer>> = {}) {
    this.fd = fd
    this.#answers = new Map(Object.entries(answers).map(([request, answer]) => [Number(request), answer]))
    this.#stop = watchReadable(fd, () => this.#receive())
  }

  answer(request: number, answer: Answer): void {
    this.#answers.set(request, answer)
  }

  /** Confirms what asks for it. */
  acknowledge(): void {
    this.#needReply = true
  }

  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    for (let sent = 0; sent < bytes.length; ) {
      const count = sendWithFds(this.fd, bytes.subarray(sent), sent === 0 ? fds : [])
      if (count <= 0) throw new Error(`sendmsg: ${count}`)
      sent += count
    }
  }

  requests(): number[] {
    return this.received.map(({ request }) => request)
  }

  find(request: number): RawMessage | undefined {
    return this.received.findLast((message) => message.request === request)
  }

  close(): void {
    if (this.ended) return
    this.ended = true
    this.#stop()
    for (const { fds } of this.received) for (const fd of fds) close(fd)
    for (const fd of this.#fds) close(fd)
    close(this.fd)
  }

  #receive(): void {
    while (!this.ended) {
      const part = receiveOrEnd(this.fd, this.#missing())
      if (part === undefined) break
      if (part.bytes.length === 0) return this.close()
      this.#buffer = new Uint8Array(Buffer.concat([this.#buffer, part.bytes]))
      this.#fds.push(...part.fds)
      this.#cut()
    }
  }

  /** Bytes of the message at hand: those beyond may come with descriptors of their own. */
  #missing(): number {
    if (this.#buffer.length < 12) return 12 - this.#buffer.length
    return 12 + new DataView(this.#buffer.buffer).getUint32(8, true) - this.#buffer.length
  }

  #cut(): void {
    while (!this.ended && this.#buffer.length >= 12) {
      const view = new DataView(this.#buffer.buffer)
      const end = 12 + view.getUint32(8, true)
      if (this.#buffer.length < end) return
      const message = {
        request: view.getUint32(0, true),
        flags: view.getUint32(4, true),
        payload: this.#buffer.slice(12, end),
        fds: this.#fds,
      }
      this.#fds = []
      this.#buffer = this.#buffer.slice(end)
      this.received.push(message)
      this.#reply(message)
    }
  }

  #reply(message: RawMessage): void {
    const answer = this.#answers.get(message.request)
    const payload = answer ? answer(message) : undefined
    if (payload !== undefined) this.send(reply(message.request, payload))
    else if (!answer && this.#needReply && message.flags & NEED_REPLY) this.send(reply(message.request, u64(0)))
  }
}

/** The other side may have closed with something unread, which is an error here. */
function receiveOrEnd(fd: number, length: number): ReturnType<typeof receiveWithFds> {
  try {
    return receiveWithFds(fd, length, 253)
  } catch {
    return { bytes: new Uint8Array(0), fds: [] }
  }
}

/** A listening back-end that says yes to everything, but for what a test makes it say. */
export class RawBackEnd {
  readonly path: string
  readonly peers: RawPeer[] = []
  readonly #folder: string
  readonly #listening: number
  readonly #stop: () => void
  #closed = false

  constructor(options: RawBackEndOptions = {}) {
    this.#folder = mkdtempSync(join(tmpdir(), 'virtio-ts-raw-'))
    this.path = join(this.#folder, 'socket')
    this.#listening = listenUnix(this.path)
    this.#stop = watchReadable(this.#listening, () => {
      const fd = acceptUnix(this.#listening)
      if (fd !== undefined) this.peers.push(honestPeer(fd, options))
    })
  }

  /** The last that connected. */
  get peer(): RawPeer {
    const peer = this.peers.at(-1)
    if (!peer) throw new Error('nobody has connected')
    return peer
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stop()
    for (const peer of this.peers) peer.close()
    close(this.#listening)
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

export function honestPeer(fd: number, options: RawBackEndOptions = {}): RawPeer {
  const { features = PROTOCOL_FEATURES_BIT | (1n << 32n), config } = options
  const { protocolFeatures: offered = protocolFeatures('REPLY_ACK', 'MQ'), queueCount = 1 } = options
  let status = 0
  const peer = new RawPeer(fd, {
    [Request.GET_FEATURES]: () => u64(features),
    [Request.GET_PROTOCOL_FEATURES]: () => u64(offered),
    [Request.GET_QUEUE_NUM]: () => u64(queueCount),
    [Request.GET_MAX_MEM_SLOTS]: () => u64(16),
    [Request.GET_VRING_BASE]: ({ payload }) => u32s(new DataView(payload.buffer).getUint32(0, true), 0),
    [Request.GET_STATUS]: () => u64(status),
    [Request.GET_CONFIG]: ({ payload }) => {
      const size = new DataView(payload.buffer).getUint32(4, true)
      if (config === undefined || size > config.length) return new Uint8Array(0)
      return new Uint8Array([...payload.subarray(0, 12), ...config.subarray(0, size)])
    },
    ...options.answers,
  })
  if (!options.answers?.[Request.SET_STATUS]) {
    peer.answer(Request.SET_STATUS, ({ payload, flags }) => {
      status = Number(new DataView(payload.buffer).getBigUint64(0, true))
      return flags & NEED_REPLY ? u64(0) : undefined
    })
  }
  peer.acknowledge()
  return peer
}

/** Turns of the event loop until `done`, a bounded number of times. */
export async function until(done: () => boolean): Promise<void> {
  for (let turn = 0; turn < 2000; turn++) {
    if (done()) return
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  throw new Error('it did not come to that')
}
