import { type DeviceDescription, initialize, type Transport, type VirtioDevice } from '@virtio-ts/core'
import { VirtioError } from '@virtio-ts/spec'
import { CONTROL_MEMORY, type ControlOptions, ControlQueue } from './control-queue.ts'
import { DeviceAttention } from './device-attention.ts'
import { NetCommands } from './net-commands.ts'
import { type NetEventListeners, type NetEvents, netEventListeners } from './net-events.ts'
import type { NetHeaderFields, NetHeaderLength } from './net-header.ts'
import { checkNetOptions, DEFAULT_CONTROL_TIMEOUT, maskedFeatures, type NetOptions } from './net-options.ts'
import { DRAIN_TIMEOUT, type FaultReport, NetQueuePair, type PairReport } from './net-queue-pair.ts'
import { withSettings } from './net-settings.ts'
import { makeNetSpec, type NetDriverFeature, type NetQueue, receiveQueueName, transmitQueueName } from './net-spec.ts'
import { findInvalid, invalidConfigError, type LinkState, type NetState, readNetState } from './net-state.ts'
import type { QueuePairEngine } from './queue-pair-engine.ts'
import { readHashLimits } from './read-hash-limits.ts'
import { receivedFrames } from './received-frames.ts'
import type { ReceivedPacket } from './received-packet.ts'
import { isForTransfer, setUpPairs } from './set-up-pairs.ts'
import { StateMonitor } from './state-monitor.ts'
import type { HashLimits } from './steering-options.ts'
import { sumStats } from './sum-stats.ts'
import { transferPair } from './transfer-pair.ts'

/** A device's description, with its queue pairs. */
export interface NetDeviceDescription extends DeviceDescription {
  readonly queuePairs: {
    /** Asked for by the owner. */
    readonly wanted: number
    /** What the device has; 1 where it says nothing of several. */
    readonly device: number
    /** Set up, and of these in use. Fewer than wanted where the device has no more, or none of them where it does without MQ. */
    readonly setUp: number
    readonly inUse: number
  }
}

interface Initial {
  readonly state: NetState
  readonly limits: HashLimits
  readonly maxPairs: number
}

/**
 * Driver for the network device. Frames go in and out as offsets into memory; the hot calls - `receive`, `reserve`, `commit`, `publish` -
 * allocate nothing. They are those of the first queue pair, as most devices have no other; `pairs` has them all. `send()` and
 * `frames()` are for everyone else.
 *
 * @example
 * ```ts
 * const net = await NetDriver.open(transport)
 * net.onReceive(() => {
 *   do while (net.receive((packet) => console.log(packet.length), 64) > 0)
 *   while (net.armReceive())
 * })
 * net.send(frame)
 * ```
 * @see VIRTIO 1.3 § 5.1 "Network Device"
 */
export class NetDriver extends NetCommands implements AsyncDisposable {
  /** Every queue pair that was set up, in use or not. */
  readonly pairs: readonly NetQueuePair[]
  /** The memory of the first pair's packets. Not to be touched after `close()`. */
  readonly bytes: Uint8Array
  /** Longest payload of an Ethernet frame that is not to be segmented. */
  readonly mtu: number
  /** Bytes of the header in front of each frame, on this device. */
  readonly headerLength: NetHeaderLength
  readonly #device: VirtioDevice<NetDriverFeature, NetQueue>
  readonly #options: NetOptions
  readonly #maxPairs: number
  readonly #engines: readonly QueuePairEngine[]
  /** Those that were not given to another thread. */
  readonly #own: Set<QueuePairEngine>
  readonly #receive: QueuePairEngine['receive']
  readonly #transmit: QueuePairEngine['transmit']
  readonly #control: ControlQueue | undefined
  readonly #events: NetEventListeners
  readonly #state: StateMonitor
  readonly #attention: DeviceAttention
  readonly #reports = new Map<number, PairReport>()
  readonly #closed = new AbortController()
  #closing: Promise<void> | undefined

  private constructor(device: VirtioDevice<NetDriverFeature, NetQueue>, initial: Initial, options: NetOptions) {
    const events = netEventListeners()
    const engines = setUpPairs(device, options, {
      deviceMtu: initial.state.mtu,
      onTransmitTimeout: (inFlight, pair) => events['transmit-timeout'].call(inFlight, pair),
    })
    const [first] = engines
    if (!first) throw new Error('a network device without a queue pair')
    const control = device.hasQueue('controlq') ? makeControlQueue(device, options) : undefined
    const own = new Set(engines)
    super({
      device,
      control,
      initial: initial.state,
      limits: initial.limits,
      pairs: engines.length,
      own,
      offloads: first.shape.offloads,
      options,
    })
    this.#device = device
    this.#options = options
    this.#maxPairs = initial.maxPairs
    this.#engines = engines
    this.#own = own
    this.#events = events
    this.#control = control
    this.pairs = engines.map((engine) => new NetQueuePair(engine, () => this.#handOver(engine)))
    this.#receive = first.receive
    this.#transmit = first.transmit
    this.bytes = first.memory.bytes
    this.mtu = first.shape.mtu
    this.headerLength = first.shape.headerLength
    this.#state = new StateMonitor({
      device,
      filter: this.filter,
      events,
      initial: initial.state,
      acknowledgeAtOnce: options.acknowledgeAnnounce === 'driver',
    })
    this.#attention = new DeviceAttention({ device, engines: own, control, interval: first.shape.interval })
    device.onConfigChange(() => void this.#state.refresh())
    device.onFault((reason) => {
      this.#stop(reason, true)
      events.fault.call(reason)
    })
  }

  /**
   * Initialises the device, and takes the transport over.
   * @throws RangeError for options that cannot be; VirtioError of `initialize()`, `net.config-invalid`, `net.queue-size`, `net.unsupported`
   * for RSS or hashes that were asked for, or, where the owner chose what the device has to be told, of the command that tells it
   */
  static async open(transport: Transport, options: NetOptions = {}): Promise<NetDriver> {
    const chosen = withSettings(options)
    checkNetOptions(chosen)
    let maxPairs = 1
    const spec = makeNetSpec({
      ownMac: chosen.mac !== undefined,
      legacy: transport.legacy,
      queuePairs: chosen.queuePairs ?? 1,
      onMaxPairs: (pairs) => (maxPairs = pairs),
    })
    const device = await initialize(transport, spec, { ...chosen, withoutFeatures: maskedFeatures(chosen) })
    try {
      requireAsked(device, chosen)
      // What was looked at before FEATURES_OK may have changed since.
      const state = await readNetState(device.config, device.features)
      const invalid = findInvalid(state, undefined)
      if (invalid) throw invalidConfigError(device.location, invalid)
      const limits = await readHashLimits(device.config, device.features)
      const driver = new NetDriver(device, { state, limits, maxPairs }, chosen)
      await driver.tellAtFirst()
      for (const engine of driver.#engines) if (!isForTransfer(engine.shape.index, chosen)) engine.receive.fill()
      driver.#state.start()
      return driver
    } catch (error) {
      // The first error says more than one of a device that does not reset either.
      await device.close().catch(() => {})
      throw error
    }
  }

  get link(): LinkState {
    return this.#state.link
  }

  /** A `fault` listener that comes after the fault is called soon. @returns a function that takes the listener off again */
  on<Event extends keyof NetEvents>(event: Event, listener: NetEvents[Event]): () => void {
    const fault = this.#device.fault
    if (event === 'fault' && fault && !this.#closing) queueMicrotask(() => (listener as NetEvents['fault'])(fault))
    const listeners = this.#events[event] as unknown as { add(listener: NetEvents[Event]): () => void }
    return listeners.add(listener)
  }

  /** The calls of the first queue pair: see `NetQueuePair`, which says what each does. */
  receive(sink: (packet: ReceivedPacket) => void, budget: number): number {
    return this.#receive.receive(sink, budget)
  }

  onReceive(listener: () => void): void {
    this.#first.onReceive(listener)
  }

  armReceive(): boolean {
    return this.#first.armReceive()
  }

  reserve(length: number): number {
    return this.#transmit.reserve(length)
  }

  get maxFrameLength(): number {
    return this.#transmit.largestCapacity
  }

  frameOffset(slot: number): number {
    return this.#transmit.frameOffset(slot)
  }

  capacity(slot: number): number {
    return this.#transmit.capacity(slot)
  }

  commit(slot: number, length: number, header?: NetHeaderFields | Uint8Array, headerAt = 0): boolean {
    return this.#transmit.commit(slot, length, header, headerAt)
  }

  cancel(slot: number): void {
    this.#transmit.cancel(slot)
  }

  publish(): void {
    this.#transmit.publish()
  }

  onTransmitSpace(listener: () => void): void {
    this.#first.onTransmitSpace(listener)
  }

  /** Copies a frame and sends it. @returns false when there is no room, or the frame was dropped: see `commit()` */
  send(frame: Uint8Array, header?: NetHeaderFields | Uint8Array): boolean {
    return this.#first.send(frame, header)
  }

  /**
   * Copies of the frames that arrive, until the driver is closed or `signal` aborts; throws when the device fails. Takes the place of
   * `receive()` and `onReceive()`.
   */
  frames(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<Uint8Array, void, void> {
    return receivedFrames(this, { closed: this.#closed.signal, signal: options.signal, polled: this.#attention.polled })
  }

  /**
   * Waits until the device has used every published frame of the pairs of this thread.
   * @returns how many it has not, after `timeout` milliseconds or a fault
   */
  async drain(timeout: number = DRAIN_TIMEOUT): Promise<number> {
    const left = await Promise.all([...this.#own].map((engine) => engine.drain(timeout)))
    return left.reduce((sum, frames) => sum + frames, 0)
  }

  /**
   * Polled mode: takes back frames the first pair transmitted, answers to commands, and now and then looks at the device's state. Further
   * pairs have a `poll()` of their own; packets are taken by `receive()`. Works with the event loop blocked, but for what is a promise.
   * @returns buffers the device had used
   */
  poll(): number {
    return this.#first.poll() + this.#attention.poll()
  }

  /**
   * A thread that has a pair tells what it found (`NetQueuePair.onFault`): the device fails as a whole, as it does for a fault found
   * here. The owner then stops the other threads' pairs, and closes.
   */
  reportFault(pair: number, { code, message, detail }: FaultReport): void {
    this.checkPair(pair)
    const { location, generation } = this.#device
    const queue = this.#device.queue(receiveQueueName(pair))
    queue.fail(
      new VirtioError(code, message, { device: location, generation, queue: queue.index, ...(detail && { detail }) }),
    )
  }

  /** Says that the gratuitous packets an `announce` event asked for have been sent. */
  acknowledgeAnnounce(options?: ControlOptions): Promise<void> {
    return this.#state.acknowledgeAnnounce(options)
  }

  /** Takes what a pair in another thread has counted by now: `stats()` and `describe()` tell it. */
  reportPair(pair: number, report: PairReport): void {
    this.checkPair(pair)
    this.#reports.set(pair, report)
    this.#device.reportQueueStats(receiveQueueName(pair), report.receive)
    this.#device.reportQueueStats(transmitQueueName(pair), report.transmit)
  }

  /**
   * Counters since `open()`, flat, by names that stay: `rx_packets`, `rx_dropped_gso_type`, `tx_full`, `link_changes` ... Those of
   * packets are sums over the pairs of this thread, and of others as they reported; each pair has its own `stats()`.
   */
  stats(): Readonly<Record<string, number>> {
    const stats: Record<string, number> = sumStats([
      ...[...this.#own].map((engine) => engine.stats()),
      ...[...this.#reports.values()].map(({ stats }) => stats),
    ])
    this.#state.addStats(stats)
    this.#control?.addStats(stats)
    stats.notified_again = (stats.notified_again ?? 0) + this.#attention.notifiedAgain
    stats.queue_pairs = this.steering.pairs
    return stats
  }

  describe(): NetDeviceDescription {
    const queuePairs = {
      wanted: this.#options.queuePairs ?? 1,
      device: this.#maxPairs,
      setUp: this.pairs.length,
      inUse: this.steering.pairs,
    }
    return { ...this.#device.describe(), queuePairs }
  }

  /**
   * Resets the device and frees its memory; frames not drained are lost, commands rejected. Idempotent. Waits for nobody: threads that
   * have pairs of this driver must have stopped them before.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  get #first(): NetQueuePair {
    return this.pairs[0]!
  }

  #handOver(engine: QueuePairEngine): ReturnType<NetQueuePair['transfer']> {
    const transfer = transferPair(this.#device, engine)
    this.#own.delete(engine)
    engine.stop()
    return transfer
  }

  async #close(): Promise<void> {
    const { location, generation } = this.#device
    this.#stop(new VirtioError('device.closed', `${location} was closed`, { device: location, generation }), false)
    this.#closed.abort()
    await this.#device.close()
  }

  #stop(reason: VirtioError, isFault: boolean): void {
    this.#attention.stop()
    this.#state.stop()
    for (const engine of this.#engines) isFault ? engine.fail(reason) : engine.stop()
    this.#control?.close(reason)
  }
}

function makeControlQueue(device: VirtioDevice<NetDriverFeature, NetQueue>, options: NetOptions): ControlQueue {
  return new ControlQueue({
    queue: device.requestQueue('controlq'),
    memory: device.allocate(CONTROL_MEMORY),
    timeout: options.controlTimeout ?? DEFAULT_CONTROL_TIMEOUT,
    device: device.location,
    generation: device.generation,
  })
}

/** @throws VirtioError `net.unsupported` for what the owner asked for and the device does not have */
function requireAsked(device: VirtioDevice<NetDriverFeature, NetQueue>, { rss, hashReport }: NetOptions): void {
  const asked: readonly (readonly [unknown, NetDriverFeature])[] = [
    [rss, 'RSS'],
    [hashReport, 'HASH_REPORT'],
  ]
  for (const [wish, feature] of asked) {
    if (!wish || device.features.has(feature)) continue
    throw new VirtioError(
      'net.unsupported',
      `${device.location} has no ${feature}, or not as the specification wants it: open it without ${feature === 'RSS' ? 'rss' : 'hashReport'}`,
      { device: device.location },
    )
  }
}
