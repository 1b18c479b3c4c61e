import { RegionAllocator } from '@virtio-ts/memory'
import {
  close,
  eventfd,
  type Mapping,
  mapShared,
  memfdCreate,
  PollEvent,
  poll,
  read,
  receiveWithFds,
  sealAgainstResize,
  sendWithFds,
  socketPair,
  truncate,
  write,
} from '@virtio-ts/native'
import { HandQueue } from '../../test-support/hand-queue.ts'
import { PackedHandQueue } from '../../test-support/packed-hand-queue.ts'

/** A reply as it came: header words and payload. */
export interface RawReply {
  readonly request: number
  readonly flags: number
  readonly payload: DataView
  readonly fds: readonly number[]
}

const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)

/** 64-bit words, little-endian. */
export function words64(...values: (number | bigint)[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(8 * values.length))
  values.forEach((value, n) => view.setBigUint64(8 * n, BigInt.asUintN(64, BigInt(value)), true))
  return new Uint8Array(view.buffer)
}

export function words32(...values: number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(4 * values.length))
  values.forEach((value, n) => view.setUint32(4 * n, value, true))
  return new Uint8Array(view.buffer)
}

export function joined(...parts: Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]))
}

/** A message byte for byte. */
export function rawMessage(request: number, payload: Uint8Array = new Uint8Array(0), flags = 1): Uint8Array {
  return joined(words32(request, flags, payload.length), payload)
}

/** Gives the event loop turns until it is so. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + 5000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** Lets whatever is under way happen. */
export async function settle(): Promise<void> {
  for (let n = 0; n < 5; n++) await new Promise((resolve) => setTimeout(resolve, 2))
}

/** A front-end in the plainest way: numbers and offsets of the protocol as literals. */
export class RawFrontEnd {
  readonly fd: number
  readonly length: number
  /** The file behind its memory. */
  readonly file: number
  readonly deviceAddress = 0x4000_0000
  readonly dma: RegionAllocator
  readonly #mapping: Mapping
  readonly #opened: number[] = []
  /** Where this front-end says its memory is in its own address space: not where the device sees it. */
  readonly userBase = 0x7f00_1234_0000
  notifyFds: number[] = []
  usedFds: number[] = []
  errorFds: number[] = []
  #closed = false

  constructor(fd: number, length = 1 << 20) {
    this.fd = fd
    this.length = length
    this.file = memfdCreate('raw-front-end')
    truncate(this.file, length)
    sealAgainstResize(this.file)
    this.#mapping = mapShared(this.file, length)
    this.dma = new RegionAllocator({ bytes: this.#mapping.bytes, deviceAddress: this.deviceAddress })
  }

  static pair(): { mine: RawFrontEnd; theirs: number } {
    const [mine, theirs] = socketPair()
    return { mine: new RawFrontEnd(mine), theirs }
  }

  send(request: number, payload?: Uint8Array, fds: readonly number[] = [], flags = 1): void {
    this.sendBytes(rawMessage(request, payload, flags), fds)
  }

  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    const sent = sendWithFds(this.fd, bytes, fds)
    if (sent !== bytes.length) throw new Error(`sent ${sent} of ${bytes.length} bytes`)
  }

  /** The next reply; undefined when the back-end has closed. */
  async reply(): Promise<RawReply | undefined> {
    const header = await this.#receive(12)
    if (!header) return undefined
    const view = new DataView(header.bytes.buffer)
    const payload = await this.#receive(view.getUint32(8, true))
    if (!payload) return undefined
    return {
      request: view.getUint32(0, true),
      flags: view.getUint32(4, true),
      payload: new DataView(payload.bytes.buffer, 0, payload.bytes.length),
      fds: [...header.fds, ...payload.fds],
    }
  }

  async ask(request: number, payload?: Uint8Array, fds: readonly number[] = [], flags = 1): Promise<RawReply> {
    this.send(request, payload, fds, flags)
    const reply = await this.reply()
    if (!reply) throw new Error(`closed instead of a reply to ${request}`)
    if (reply.request !== request || reply.flags !== 5)
      throw new Error(`reply to ${request}: request ${reply.request}, flags ${reply.flags}`)
    return reply
  }

  async askNumber(request: number): Promise<bigint> {
    const { payload } = await this.ask(request)
    if (payload.byteLength !== 8) throw new Error(`${payload.byteLength} bytes for a number`)
    return payload.getBigUint64(0, true)
  }

  /** With need_reply: 0 for success. */
  async acknowledged(request: number, payload?: Uint8Array, fds: readonly number[] = []): Promise<bigint> {
    return (await this.ask(request, payload, fds, 9)).payload.getBigUint64(0, true)
  }

  /** Everything before it has been dealt with. */
  async barrier(): Promise<void> {
    await this.ask(1)
  }

  /** Features and protocol features, owner, memory. @returns what is offered */
  async begin(features: bigint, protocol?: bigint): Promise<{ offered: bigint; protocol: bigint }> {
    const offered = await this.askNumber(1)
    let offeredProtocol = 0n
    if (protocol !== undefined) {
      offeredProtocol = await this.askNumber(15)
      this.send(16, words64(protocol))
    }
    this.send(3)
    this.send(2, words64(features | (protocol === undefined ? 0n : 1n << 30n)))
    this.send(5, this.regions(), [this.file])
    return { offered, protocol: offeredProtocol }
  }

  /** One region: all memory. */
  regions(): Uint8Array {
    return joined(words32(1, 0), words64(this.deviceAddress, this.length, this.userBase, 0))
  }

  toUser(deviceAddress: number): number {
    return deviceAddress - this.deviceAddress + this.userBase
  }

  /** Tells of a ring: size, base, addresses, descriptors; enabled where that is a message. */
  announce(
    index: number,
    queue: HandQueue | PackedHandQueue,
    options: { base?: number; enable?: boolean; eventFds?: boolean } = {},
  ): void {
    const { descriptorArea, driverArea, deviceArea } = queue.addresses
    this.send(8, words32(index, queue.size))
    this.send(10, words32(index, options.base ?? (queue instanceof PackedHandQueue ? 0x80008000 : 0)))
    this.send(
      9,
      joined(
        words32(index, 0),
        words64(this.toUser(descriptorArea), this.toUser(deviceArea), this.toUser(driverArea), 0),
      ),
    )
    this.setFds(index)
    if (options.enable !== false) this.send(18, words32(index, 1))
  }

  setFds(index: number): void {
    const [notify, used, error] = [eventfd(), eventfd(), eventfd()]
    this.#opened.push(notify, used, error)
    this.notifyFds[index] = notify
    this.usedFds[index] = used
    this.errorFds[index] = error
    this.send(13, words64(index), [used])
    this.send(14, words64(index), [error])
    this.send(12, words64(index), [notify])
  }

  split(index: number, size: number, options: Parameters<RawFrontEnd['announce']>[2] = {}): HandQueue {
    const queue = new HandQueue(this.dma, size, options.base ?? 0)
    this.announce(index, queue, options)
    return queue
  }

  packed(index: number, size: number): PackedHandQueue {
    const queue = new PackedHandQueue(this.dma, size)
    this.announce(index, queue)
    return queue
  }

  notify(index: number): void {
    write(this.notifyFds[index] ?? -1, ONE)
  }

  /** How often an eventfd was written to since it was read last. */
  signals(fd: number | undefined): number {
    const counter = new Uint8Array(8)
    return read(fd ?? -1, counter) === 8 ? new DataView(counter.buffer).getUint32(0, true) : 0
  }

  /** Whether the back-end has closed the connection (or bytes of its own are waiting). */
  get readable(): boolean {
    return poll(this.fd, PollEvent.IN, 0) !== 0
  }

  hangUp(): void {
    if (this.#closed) return
    this.#closed = true
    close(this.fd)
  }

  close(): void {
    this.hangUp()
    for (const fd of this.#opened.splice(0)) close(fd)
    this.#mapping.unmap()
    close(this.file)
  }

  async #receive(length: number): Promise<{ bytes: Uint8Array<ArrayBuffer>; fds: number[] } | undefined> {
    const bytes = new Uint8Array(length)
    const fds: number[] = []
    const deadline = Date.now() + 5000
    for (let have = 0; have < length; ) {
      const part = receiveWithFds(this.fd, length - have, 253)
      if (part) {
        if (part.bytes.length === 0) return undefined
        bytes.set(part.bytes, have)
        have += part.bytes.length
        fds.push(...part.fds)
        continue
      }
      if (Date.now() > deadline) throw new Error('no reply')
      await new Promise((resolve) => setImmediate(resolve))
    }
    return { bytes, fds }
  }
}
