import { close } from '@virtio-ts/native'
import {
  hasFeature,
  VhostUser,
  VhostUserProtocolFeature,
  type VhostUserProtocolFeatureName,
  VhostUserRequest,
  type VhostUserRequestName,
} from '@virtio-ts/spec'
import { protocolError, refusedError } from './connection-error.ts'
import {
  decodeConfig,
  decodeInflight,
  decodeQueueState,
  decodeU64,
  encodeConfig,
  encodeInflight,
  encodeMemoryRegion,
  encodeMemoryTable,
  encodeQueueAddresses,
  encodeQueueState,
  encodeU64,
  type MemoryRegionDescription,
  type QueueAreas,
} from './messages.ts'
import type { VhostUserConnection } from './vhost-user-connection.ts'

/** A region and the descriptor of its file, which stays its owner's. */
export interface SharedRegion extends MemoryRegionDescription {
  readonly fd: number
}

/** Descriptors of a queue, as the back-end gets copies of them. */
export interface QueueFds {
  readonly notify: number
  readonly used: number
  readonly error: number
}

const EMPTY: Uint8Array = new Uint8Array(0)
/** What this front-end makes use of, where it is offered. */
const WANTED: readonly VhostUserProtocolFeatureName[] = [
  'MQ',
  'REPLY_ACK',
  'NET_MTU',
  'CONFIG',
  'INFLIGHT_SHMFD',
  'RESET_DEVICE',
  'CONFIGURE_MEM_SLOTS',
  'STATUS',
]

/**
 * Requests as methods. Those without a reply of their own are confirmed where the back-end can do so (REPLY_ACK): what it refuses is an
 * error at once. Everything rejects with a VirtioError: `vhost-user.refused`, or that of a connection which ended.
 */
export class FrontEnd {
  readonly #connection: VhostUserConnection
  #features = 0n
  #protocolFeatures = 0n

  private constructor(connection: VhostUserConnection) {
    this.#connection = connection
  }

  /** Takes the back-end over, and agrees with it on what the protocol can do. */
  static async negotiate(connection: VhostUserConnection): Promise<FrontEnd> {
    const frontEnd = new FrontEnd(connection)
    await frontEnd.#order('SET_OWNER', EMPTY)
    frontEnd.#features = await frontEnd.#number('GET_FEATURES')
    if (!hasFeature(frontEnd.#features, VhostUser.F_PROTOCOL_FEATURES)) return frontEnd
    const offered = await frontEnd.#number('GET_PROTOCOL_FEATURES')
    const chosen = chooseProtocolFeatures(offered)
    await frontEnd.#order('SET_PROTOCOL_FEATURES', encodeU64(chosen))
    frontEnd.#protocolFeatures = chosen
    return frontEnd
  }

  /** As the back-end offers them, the protocol's own bit 30 included. */
  get features(): bigint {
    return this.#features
  }

  get path(): string {
    return this.#connection.path
  }

  has(feature: VhostUserProtocolFeatureName): boolean {
    return hasFeature(this.#protocolFeatures, VhostUserProtocolFeature[feature])
  }

  /** Whether rings are switched on and off one by one; without, they are on once they are there. */
  get switchesQueues(): boolean {
    return hasFeature(this.#features, VhostUser.F_PROTOCOL_FEATURES)
  }

  /** @param features of the device; bit 30 goes with them where it was offered, else the back-end would do without protocol features */
  setFeatures(features: bigint): Promise<void> {
    const own = this.#features & (1n << BigInt(VhostUser.F_PROTOCOL_FEATURES))
    return this.#order('SET_FEATURES', encodeU64(features | own))
  }

  /** Returns when the back-end has done all that was asked of it before. */
  async settle(): Promise<void> {
    if (!this.has('REPLY_ACK')) await this.#number('GET_FEATURES')
  }

  /** Queues at most: queue pairs, where a back-end for network devices counts so. Only with MQ. */
  async queueCount(): Promise<number> {
    return clamp(await this.#number('GET_QUEUE_NUM'))
  }

  /** Regions at most. */
  async memorySlots(): Promise<number> {
    if (!this.has('CONFIGURE_MEM_SLOTS')) return VhostUser.MAX_MEMORY_REGIONS
    return clamp(await this.#number('GET_MAX_MEM_SLOTS'))
  }

  setMemoryTable(regions: readonly SharedRegion[]): Promise<void> {
    return this.#order(
      'SET_MEM_TABLE',
      encodeMemoryTable(regions),
      regions.map(({ fd }) => fd),
    )
  }

  addMemoryRegion(region: SharedRegion): Promise<void> {
    return this.#order('ADD_MEM_REG', encodeMemoryRegion(region), [region.fd])
  }

  /** @param start what the protocol calls the base: where in the ring the back-end begins */
  async setUpQueue(index: number, size: number, start: number, areas: QueueAreas): Promise<void> {
    await this.#order('SET_VRING_NUM', encodeQueueState(index, size))
    await this.#order('SET_VRING_BASE', encodeQueueState(index, start))
    await this.#order('SET_VRING_ADDR', encodeQueueAddresses(index, areas))
  }

  /** The last step of setting a queue up: from here on the back-end may use it, if it is switched on. */
  async setQueueFds(index: number, fds: QueueFds): Promise<void> {
    await this.#order('SET_VRING_ERR', encodeU64(index), [fds.error])
    await this.#order('SET_VRING_CALL', encodeU64(index), [fds.used])
    await this.#order('SET_VRING_KICK', encodeU64(index), [fds.notify])
  }

  /** Only where `switchesQueues`. */
  switchQueue(index: number, on: boolean): Promise<void> {
    return this.#order('SET_VRING_ENABLE', encodeQueueState(index, on ? 1 : 0))
  }

  /** Has the back-end let go of a queue: it touches neither the ring nor its buffers any more when this resolves. */
  async stopQueue(index: number): Promise<void> {
    const state = await this.#ask('GET_VRING_BASE', encodeQueueState(index, 0), decodeQueueState)
    if (state.index !== index)
      throw this.#connection.fail(
        protocolError(this.path, `GET_VRING_BASE of queue ${index} was answered for queue ${state.index}`),
      )
  }

  /** Only with STATUS. */
  setStatus(status: number): Promise<void> {
    return this.#order('SET_STATUS', encodeU64(status))
  }

  /** Only with STATUS. */
  async status(): Promise<number> {
    const status = await this.#number('GET_STATUS')
    if (status <= 0xffn) return Number(status)
    throw this.#connection.fail(protocolError(this.path, `a device status of 0x${status.toString(16)}, beyond 8 bits`))
  }

  /** Only with RESET_DEVICE. */
  resetDevice(): Promise<void> {
    return this.#order('RESET_DEVICE', EMPTY)
  }

  /** Only with NET_MTU. */
  setMtu(mtu: number): Promise<void> {
    return this.#order('NET_SET_MTU', encodeU64(mtu))
  }

  /** @param fd the back-end's end of the channel for its own requests. Only with BACKEND_REQ */
  setBackEndChannel(fd: number): Promise<void> {
    return this.#order('SET_BACKEND_REQ_FD', EMPTY, [fd])
  }

  /**
   * The first `length` bytes of the configuration space: always from its beginning, as back-ends (libvhost-user) ignore the offset. Only with
   * CONFIG.
   * @returns undefined where the back-end does not have so many
   */
  async config(length: number): Promise<Uint8Array | undefined> {
    const request = encodeConfig(0, new Uint8Array(length))
    const contents = await this.#ask('GET_CONFIG', request, (payload) => decodeConfig(payload, 0, length))
    return contents.length === length ? contents : undefined
  }

  /** Only with CONFIG. */
  setConfig(offset: number, contents: Uint8Array): Promise<void> {
    return this.#order('SET_CONFIG', encodeConfig(offset, contents))
  }

  /**
   * Has the back-end make memory for its notes on requests in flight, and hands it back, unread. Only with INFLIGHT_SHMFD.
   * @param queueSize the largest
   */
  async exchangeInflight(queues: number, queueSize: number): Promise<void> {
    const request = encodeInflight({ length: 0n, offset: 0n, queues, queueSize })
    const { payload, fds } = await this.#connection.ask(VhostUserRequest.GET_INFLIGHT_FD, request, 1)
    try {
      const inflight = decodeInflight(payload)
      if (inflight === undefined) throw this.#malformed('GET_INFLIGHT_FD', payload.length)
      if (fds.length === 0) return
      await this.#order('SET_INFLIGHT_FD', encodeInflight(inflight), fds)
    } finally {
      for (const fd of fds) close(fd)
    }
  }

  #number(request: VhostUserRequestName): Promise<bigint> {
    return this.#ask(request, EMPTY, decodeU64)
  }

  async #ask<Result>(
    request: VhostUserRequestName,
    payload: Uint8Array,
    decode: (payload: Uint8Array) => Result | undefined,
  ): Promise<Result> {
    const reply = await this.#connection.ask(VhostUserRequest[request], payload)
    const result = decode(reply.payload)
    if (result === undefined) throw this.#malformed(request, reply.payload.length)
    return result
  }

  async #order(request: VhostUserRequestName, payload: Uint8Array, fds: readonly number[] = []): Promise<void> {
    const needReply = this.has('REPLY_ACK')
    const reply = await this.#connection.send(VhostUserRequest[request], payload, { fds, needReply })
    if (!needReply) return
    const answer = decodeU64(reply.payload)
    if (answer === undefined) throw this.#malformed(request, reply.payload.length)
    if (answer !== 0n) throw refusedError(this.path, request, Number(answer))
  }

  #malformed(request: VhostUserRequestName, length: number): Error {
    return this.#connection.fail(
      protocolError(this.path, `a reply to ${request} that is not of its form (${length} bytes)`, { request, length }),
    )
  }
}

/** Requests of the back-end's own are only good for telling that the configuration changed. */
function chooseProtocolFeatures(offered: bigint): bigint {
  let chosen = 0n
  for (const name of WANTED) chosen |= offered & (1n << BigInt(VhostUserProtocolFeature[name]))
  const hasConfig = hasFeature(chosen, VhostUserProtocolFeature.CONFIG)
  if (hasConfig) chosen |= offered & (1n << BigInt(VhostUserProtocolFeature.BACKEND_REQ))
  return chosen
}

/** A count of the back-end's, as a number that all sums can be done with. */
function clamp(count: bigint): number {
  return Number(count < 0xffffn ? count : 0xffffn)
}
