import {
  type DeviceDescription,
  initialize,
  type NegotiatedFeatures,
  type Transport,
  type VirtioDevice,
} from '@virtio-ts/core'
import { type NetFeatureName, VirtioError } from '@virtio-ts/spec'
import { Attention } from './attention.ts'
import { CONTROL_MEMORY, type ControlOptions, ControlQueue } from './control-queue.ts'
import { DeviceFilter, type MacTable, type ReceiveMode } from './device-filter.ts'
import { formatMac, isUnicastMac, randomMac } from './mac-address.ts'
import { type NetEventListeners, type NetEvents, netEventListeners } from './net-events.ts'
import type { NetHeaderFields } from './net-header.ts'
import type { NetOffloads } from './net-offloads.ts'
import {
  checkNetOptions,
  DEFAULT_CONTROL_TIMEOUT,
  DEFAULT_TRANSMIT_TIMEOUT,
  maskedFeatures,
  type NetOptions,
} from './net-options.ts'
import { macSetting, type NetDriverFeature, type NetQueue, netSpec, netSpecWithOwnMac } from './net-spec.ts'
import { findInvalid, invalidConfigError, type LinkState, type NetState, readNetState } from './net-state.ts'
import { makePacketPaths, type PacketPaths } from './packet-paths.ts'
import { receivedFrames } from './received-frames.ts'
import type { ReceivedPacket } from './received-packet.ts'
import { StateMonitor } from './state-monitor.ts'
import { Watchdog } from './watchdog.ts'

const DRAIN_TIMEOUT = 2000

/**
 * Driver for the network device, one queue pair. Frames go in and out as offsets into `bytes`; the hot calls - `receive`, `reserve`,
 * `commit`, `publish` - allocate nothing. `send()` and `frames()` are for everyone else.
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
export class NetDriver implements AsyncDisposable {
  /** The memory of all packets; every offset is into it. Not to be touched after `close()`. */
  readonly bytes: Uint8Array
  /** Longest payload of an Ethernet frame that is not to be segmented. */
  readonly mtu: number
  /** Bytes of the header in front of each frame, on this device. */
  readonly headerLength: 10 | 12
  readonly #device: VirtioDevice<NetDriverFeature, NetQueue>
  readonly #paths: PacketPaths
  readonly #control: ControlQueue | undefined
  readonly #filter: DeviceFilter
  readonly #events: NetEventListeners = netEventListeners()
  readonly #state: StateMonitor
  readonly #watchdog: Watchdog
  readonly #attention: Attention
  readonly #closed = new AbortController()
  #mac: Uint8Array
  #receiveOffloads: NetOffloads
  #closing: Promise<void> | undefined

  private constructor(device: VirtioDevice<NetDriverFeature, NetQueue>, initial: NetState, options: NetOptions) {
    const paths = makePacketPaths(device, initial.mtu, options)
    this.#device = device
    this.#paths = paths
    this.bytes = paths.memory.bytes
    this.mtu = paths.mtu
    this.headerLength = paths.headerLength
    this.#receiveOffloads = paths.offloads.receive
    this.#mac = options.mac?.slice() ?? initial.mac ?? randomMac()
    this.#control = device.hasQueue('controlq') ? makeControlQueue(device, options) : undefined
    this.#filter = new DeviceFilter(this.#control, device.features, device.location)
    const acknowledgeAtOnce = options.acknowledgeAnnounce === 'driver'
    this.#state = new StateMonitor({ device, filter: this.#filter, events: this.#events, initial, acknowledgeAtOnce })
    this.#watchdog = new Watchdog({
      receiveQueue: device.queue('receiveq1'),
      transmitQueue: device.queue('transmitq1'),
      controlQueue: this.#control && device.queue('controlq'),
      receive: paths.receive,
      transmit: paths.transmit,
      transmitTimeout: options.transmitTimeout ?? DEFAULT_TRANSMIT_TIMEOUT,
      onTransmitTimeout: (inFlight) => this.#events['transmit-timeout'].call(inFlight),
    })
    this.#attention = new Attention({
      device,
      receive: paths.receive,
      transmit: paths.transmit,
      control: this.#control,
      watchdog: this.#watchdog,
      interval: options.watchdog,
    })
    device.onConfigChange(() => void this.#state.refresh())
    device.onFault((reason) => {
      this.#stop(reason)
      this.#events.fault.call(reason)
    })
  }

  /**
   * Initialises the device, and takes the transport over.
   * @throws RangeError for options that cannot be; VirtioError of `initialize()`, `net.config-invalid`, `net.queue-size`, or, where
   * the owner chose the address, of the command that tells the device
   */
  static async open(transport: Transport, options: NetOptions = {}): Promise<NetDriver> {
    checkNetOptions(options)
    const spec = options.mac ? netSpecWithOwnMac(transport.legacy) : netSpec
    const device = await initialize(transport, spec, { ...options, withoutFeatures: maskedFeatures(options) })
    try {
      // What was looked at before FEATURES_OK may have changed since.
      const initial = await readNetState(device.config, device.features)
      const invalid = findInvalid(initial, undefined)
      if (invalid) throw invalidConfigError(device.location, invalid)
      const driver = new NetDriver(device, initial, options)
      await driver.#start(initial, options)
      return driver
    } catch (error) {
      // The first error says more than one of a device that does not reset either.
      await device.close().catch(() => {})
      throw error
    }
  }

  /** The address in use: the owner's, the device's, or a random locally administered one. A copy. */
  get mac(): Uint8Array {
    return this.#mac.slice()
  }

  get features(): NegotiatedFeatures<NetFeatureName> {
    return this.#device.features
  }

  get link(): LinkState {
    return this.#state.link
  }

  /** `transmit`: what may be left to the device, so what a TAP interface is told; `receive`: what the device may leave to us. */
  get offloads(): { readonly transmit: NetOffloads; readonly receive: NetOffloads } {
    return { transmit: this.#paths.offloads.transmit, receive: this.#receiveOffloads }
  }

  /** A `fault` listener that comes after the fault is called soon. @returns a function that takes the listener off again */
  on<Event extends keyof NetEvents>(event: Event, listener: NetEvents[Event]): () => void {
    const fault = this.#device.fault
    if (event === 'fault' && fault && !this.#closing) queueMicrotask(() => (listener as NetEvents['fault'])(fault))
    const listeners = this.#events[event] as unknown as { add(listener: NetEvents[Event]): () => void }
    return listeners.add(listener)
  }

  /**
   * Hands packets that have arrived to `sink`, one after the other; their memory goes back to the device when it has returned.
   * @param sink must not call `receive()`; what it throws comes out of `receive()`
   * @param budget packets at most
   * @returns packets taken, dropped ones included; 0 when there was nothing
   */
  receive(sink: (packet: ReceivedPacket) => void, budget: number): number {
    return this.#paths.receive.receive(sink, budget)
  }

  /** The one function called when packets have arrived: it calls `receive()` until that returns 0, then `armReceive()`. Not polled. */
  onReceive(listener: () => void): void {
    this.#attention.onReceive(listener)
  }

  /** Asks for the next call of the `onReceive` listener. @returns true when packets are there already: receive again instead */
  armReceive(): boolean {
    return this.#attention.arm()
  }

  /**
   * Takes a slot for a frame.
   * @param length bytes at most
   * @returns the slot, to be given to `commit()` or `cancel()`; -1 when there is none: wait for `onTransmitSpace`, or `poll()`
   * @throws RangeError when no slot is that long: see `maxFrameLength`
   */
  reserve(length: number): number {
    return this.#paths.transmit.reserve(length)
  }

  /** Longest frame that `reserve()` takes: 64 KiB and headers where the device segments, the MTU and some more where not. */
  get maxFrameLength(): number {
    return this.#paths.transmit.largestCapacity
  }

  /** Where the slot's frame begins in `bytes`. At least 12 bytes in front of it are the driver's header, free until `commit()`. */
  frameOffset(slot: number): number {
    return this.#paths.transmit.frameOffset(slot)
  }

  /** Bytes the slot takes. */
  capacity(slot: number): number {
    return this.#paths.transmit.capacity(slot)
  }

  /**
   * Gives a filled slot to the device, at the next `publish()`. The slot is no longer the caller's, whatever the answer.
   * @param length bytes of the frame
   * @param header what is left to the device; a header's first ten bytes, from `headerAt`, also in `bytes` in front of the frame
   * @returns false when the frame was dropped, and counted: the header asks for what was not negotiated or does not fit the
   * frame, the frame is too short or longer than the MTU, or the device has failed
   * @throws RangeError for a slot that is not reserved, or too short
   */
  commit(slot: number, length: number, header?: NetHeaderFields | Uint8Array, headerAt = 0): boolean {
    return this.#paths.transmit.commit(slot, length, header, headerAt)
  }

  cancel(slot: number): void {
    this.#paths.transmit.cancel(slot)
  }

  /** Makes committed frames available to the device: once per batch. */
  publish(): void {
    this.#paths.transmit.publish()
  }

  /** The one function called when there is room again after `reserve()` returned -1. */
  onTransmitSpace(listener: () => void): void {
    this.#attention.onTransmitSpace(listener)
  }

  /** Copies a frame and sends it. @returns false when there is no room, or the frame was dropped: see `commit()` */
  send(frame: Uint8Array, header?: NetHeaderFields | Uint8Array): boolean {
    const slot = this.reserve(frame.length)
    if (slot < 0) return false
    this.bytes.set(frame, this.frameOffset(slot))
    const committed = this.commit(slot, frame.length, header)
    this.publish()
    return committed
  }

  /**
   * Copies of the frames that arrive, until the driver is closed or `signal` aborts; throws when the device fails. Takes the place of
   * `receive()` and `onReceive()`.
   */
  frames(options: { readonly signal?: AbortSignal } = {}): AsyncGenerator<Uint8Array, void, void> {
    return receivedFrames(this, { closed: this.#closed.signal, signal: options.signal, polled: this.#attention.polled })
  }

  /** Waits until the device has used every published frame. @returns how many it has not, after `timeout` milliseconds or a fault */
  async drain(timeout: number = DRAIN_TIMEOUT): Promise<number> {
    const { transmit } = this.#paths
    const end = performance.now() + timeout
    while (!this.#device.fault && transmit.inFlight > 0) {
      transmit.reclaim()
      if (transmit.inFlight === 0 || performance.now() >= end) break
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    return transmit.inFlight
  }

  /**
   * Polled mode: takes back transmitted frames, answers to commands, and now and then looks at the device's state. Packets are
   * taken by `receive()`. Works with the event loop blocked, but for what is a promise.
   * @returns buffers the device had used
   */
  poll(): number {
    return this.#attention.poll()
  }

  /** Commands reject with VirtioError `net.unsupported` (feature not negotiated), `net.control-refused` or `net.control-timeout`. */
  setReceiveMode(mode: ReceiveMode, options?: ControlOptions): Promise<void> {
    return this.#filter.setReceiveMode(mode, options)
  }

  setMacTable(table: MacTable, options?: ControlOptions): Promise<void> {
    return this.#filter.setMacTable(table, options)
  }

  addVlan(id: number, options?: ControlOptions): Promise<void> {
    return this.#filter.setVlan(id, true, options)
  }

  removeVlan(id: number, options?: ControlOptions): Promise<void> {
    return this.#filter.setVlan(id, false, options)
  }

  /** Gives the device another address; also on legacy devices without the command. */
  async setMac(mac: Uint8Array, options?: ControlOptions): Promise<void> {
    if (!isUnicastMac(mac)) throw new RangeError(`${formatMac(mac)} cannot be the address of an interface`)
    if (macSetting(this.#device.features, this.#device.legacy) === 'config') await this.#device.config.write(0, mac)
    else await this.#filter.setMac(mac, options)
    this.#mac = mac.slice()
  }

  /** Switches receive offloads; those left out are switched off. @throws RangeError for one that was not negotiated */
  async setGuestOffloads(offloads: Partial<NetOffloads>, options?: ControlOptions): Promise<void> {
    const { receive } = this.#paths.offloads
    const { checksum = false, tso4 = false, tso6 = false, ecn = false, ufo = false } = offloads
    const wanted = { checksum, tso4, tso6, ecn, ufo }
    await this.#filter.setOffloads(wanted, receive, options)
    this.#receiveOffloads = wanted
  }

  /** Says that the gratuitous packets an `announce` event asked for have been sent. */
  acknowledgeAnnounce(options?: ControlOptions): Promise<void> {
    return this.#state.acknowledgeAnnounce(options)
  }

  /** Counters since `open()`, flat, by names that stay: `rx_packets`, `rx_dropped_gso_type`, `tx_full`, `link_changes` ... */
  stats(): Readonly<Record<string, number>> {
    const stats: Record<string, number> = {}
    this.#paths.receive.addStats(stats)
    this.#paths.transmit.addStats(stats)
    this.#state.addStats(stats)
    this.#watchdog.addStats(stats)
    this.#control?.addStats(stats)
    stats.missed_notifications = this.#attention.missed
    return stats
  }

  describe(): DeviceDescription {
    return this.#device.describe()
  }

  /** Resets the device and frees its memory; frames not drained are lost, commands rejected. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #start(initial: NetState, { mac }: NetOptions): Promise<void> {
    const { features, legacy } = this.#device
    const isNew = initial.mac === undefined || formatMac(initial.mac) !== formatMac(this.#mac)
    if (isNew && macSetting(features, legacy) !== 'none') {
      // VIRTIO 1.3 § 5.1.6.5.2.2 "Driver Requirements: Setting MAC Address Filtering": the device SHOULD be told. Where the address is the
      // owner's wish that must work; a random one serves without.
      const told = this.setMac(this.#mac)
      await (mac ? told : told.catch(() => {}))
    }
    this.#paths.receive.fill()
    this.#state.start()
  }

  async #close(): Promise<void> {
    const { location, generation } = this.#device
    this.#stop(new VirtioError('device.closed', `${location} was closed`, { device: location, generation }))
    this.#closed.abort()
    await this.#device.close()
  }

  #stop(reason: VirtioError): void {
    this.#attention.stop()
    this.#state.stop()
    this.#paths.receive.stop()
    this.#paths.transmit.stop()
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
