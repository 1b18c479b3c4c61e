import { randomBytes } from 'node:crypto'
import { connectUnix, SystemError } from '@virtio-ts/native'
import { type DeviceTypeId, isVirtioError, VirtioError } from '@virtio-ts/spec'
import { unreachableError } from './connection-error.ts'
import { ListeningSocket } from './listening-socket.ts'
import { openTransport } from './open-transport.ts'
import type { VhostUserTransport } from './vhost-user-transport.ts'

export interface VhostUserOptions {
  /** Of the Unix socket. */
  readonly path: string
  /** Listens at the path, and back-ends connect; otherwise a back-end listens. @defaultValue false */
  readonly server?: boolean
  /** What is behind the socket: the protocol does not tell. */
  readonly deviceType: DeviceTypeId
  readonly memory?: {
    /** Bytes that a connection has for rings and buffers; the system provides what is touched. @defaultValue 64 MiB */
    readonly length?: number
    /** From the system's huge pages: all of it is taken at once. DPDK is faster with them. @defaultValue false */
    readonly hugepages?: boolean
    /** Files it is spread over. @defaultValue 1 */
    readonly regions?: number
  }
  /** Where the device is a network device, and its back-end leaves these to the front-end. */
  readonly net?: {
    /** The device's address. @defaultValue the back-end's, or one made up for this endpoint, the same for every connection */
    readonly mac?: Uint8Array
    /** Offered to the driver, and told to the back-end. */
    readonly mtu?: number
  }
  /** Milliseconds a request may take. @defaultValue 2000 */
  readonly timeout?: number
}

export interface ConnectOptions {
  /** Tries again for ever, with growing pauses, rather than once. @defaultValue false */
  readonly wait?: boolean
  readonly signal?: AbortSignal
}

const DEFAULT_TIMEOUT = 2000
const DEFAULT_MEMORY = 64 * 1024 * 1024
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 5000
const LOCALLY_ADMINISTERED = 0x02
const GROUP = 0x01

/** A place where a device is found, lost and found again: a socket's path, from either side. Each connection is a transport of its own. */
export class VhostUserEndpoint implements AsyncDisposable {
  readonly #options: VhostUserOptions
  readonly #mac: Uint8Array
  readonly #closed = new AbortController()
  #listening: ListeningSocket | undefined
  #connecting: Promise<unknown> | undefined

  /** @throws RangeError for options that cannot be */
  constructor(options: VhostUserOptions) {
    checkOptions(options)
    this.#options = options
    this.#mac = options.net?.mac?.slice() ?? randomAddress()
  }

  get path(): string {
    return this.#options.path
  }

  /**
   * Connects, or as a server waits for somebody to, and agrees with the back-end on the protocol. The transport is the caller's to close; as
   * long as its connection stands a back-end will hardly take another one.
   * @throws the signal's reason; DmaError `memory.unavailable`; VirtioError `vhost-user.unreachable`, `vhost-user.disconnected`,
   * `vhost-user.timeout`, `vhost-user.protocol`, `vhost-user.refused` of the attempt, without `wait`; `vhost-user.address-in-use`,
   * `vhost-user.closed`
   */
  async connect(options: ConnectOptions = {}): Promise<VhostUserTransport> {
    this.#checkOpen()
    if (this.#connecting) throw new RangeError(`${this.path}: connect() has not returned yet`)
    const signal = options.signal ? AbortSignal.any([options.signal, this.#closed.signal]) : this.#closed.signal
    const connecting = this.#connect(options.wait ?? false, signal)
    this.#connecting = connecting
    try {
      return await connecting
    } finally {
      this.#connecting = undefined
    }
  }

  /** Ends an attempt to connect, and stops listening; transports stay as they are. Idempotent. */
  async close(): Promise<void> {
    this.#closed.abort(
      new VirtioError('vhost-user.closed', `the endpoint at ${this.path} was closed`, { device: this.path }),
    )
    await this.#connecting?.catch(() => {})
    this.#listening?.close()
    this.#listening = undefined
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #connect(wait: boolean, signal: AbortSignal): Promise<VhostUserTransport> {
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      signal.throwIfAborted()
      try {
        return await this.#attempt(signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!wait || !mayPass(error)) throw error
      }
      await sleep(pause, signal)
    }
  }

  async #attempt(signal: AbortSignal): Promise<VhostUserTransport> {
    const { path, deviceType, memory = {}, net = {}, timeout = DEFAULT_TIMEOUT } = this.#options
    const fd = await this.#socket(signal)
    const transport = await openTransport(fd, {
      path,
      deviceType,
      timeout,
      memory: {
        length: memory.length ?? DEFAULT_MEMORY,
        hugepages: memory.hugepages ?? false,
        regions: memory.regions ?? 1,
      },
      net: { mac: this.#mac, isOwnMac: net.mac !== undefined, mtu: net.mtu },
    })
    if (!signal.aborted) return transport
    await transport.close()
    throw signal.reason
  }

  async #socket(signal: AbortSignal): Promise<number> {
    const { path, server } = this.#options
    if (server) {
      this.#listening ??= new ListeningSocket(path)
      return this.#listening.accept(signal)
    }
    try {
      return connectUnix(path)
    } catch (error) {
      if (error instanceof SystemError) throw unreachableError(path, error)
      throw error
    }
  }

  #checkOpen(): void {
    if (this.#closed.signal.aborted) throw this.#closed.signal.reason
  }
}

/** What another attempt can make good: the back-end's state, and not ours. */
function mayPass(error: unknown): boolean {
  return isVirtioError(error) && error.code !== 'vhost-user.address-in-use'
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    }, milliseconds)
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

function randomAddress(): Uint8Array {
  const address = new Uint8Array(randomBytes(6))
  address[0] = ((address[0] as number) & ~GROUP) | LOCALLY_ADMINISTERED
  return address
}

function checkOptions({ memory = {}, net = {}, timeout = DEFAULT_TIMEOUT }: VhostUserOptions): void {
  const { length = DEFAULT_MEMORY, regions = 1 } = memory
  if (!(timeout > 0)) throw new RangeError(`timeout ${timeout} is not a number of milliseconds`)
  if (!(Number.isSafeInteger(length) && length > 0)) throw new RangeError(`memory of ${length} bytes`)
  if (!(Number.isInteger(regions) && regions >= 1 && regions <= MAX_REGIONS))
    throw new RangeError(`memory in ${regions} regions: it can be 1 to ${MAX_REGIONS}`)
  if (net.mac && (net.mac.length !== 6 || (net.mac[0] as number) & GROUP))
    throw new RangeError(`${Buffer.from(net.mac).toString('hex')} cannot be the address of a device`)
  if (net.mtu !== undefined && !(Number.isInteger(net.mtu) && net.mtu >= 68 && net.mtu <= 65535))
    throw new RangeError(`an MTU of ${net.mtu}: it goes from 68 to 65535`)
}

/** More make every address of a back-end's a search; back-ends that can be asked take 32 (libvhost-user) or 509. */
const MAX_REGIONS = 32
