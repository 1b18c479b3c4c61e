import type { NegotiatedFeatures, VirtioDevice } from '@virtio-ts/core'
import type { NetFeatureName } from '@virtio-ts/spec'
import type { ControlOptions, ControlQueue } from './control-queue.ts'
import { DeviceFilter, type MacTable, type ReceiveMode } from './device-filter.ts'
import { formatMac, isUnicastMac, randomMac } from './mac-address.ts'
import type { NetOffloads } from './net-offloads.ts'
import type { NetOptions } from './net-options.ts'
import { type NetSettings, restoreSettings } from './net-settings.ts'
import { macSetting, type NetDriverFeature, type NetQueue } from './net-spec.ts'
import type { NetState } from './net-state.ts'
import { type Coalescing, type Direction, NotificationCoalescing } from './notification-coalescing.ts'
import type { QueuePairEngine } from './queue-pair-engine.ts'
import { QueueSteering } from './queue-steering.ts'
import type { HashConfig, HashLimits, HashSetting, RssConfig, RssSetting } from './steering-options.ts'

export interface NetCommandsParts {
  readonly device: VirtioDevice<NetDriverFeature, NetQueue>
  readonly control: ControlQueue | undefined
  readonly initial: NetState
  readonly limits: HashLimits
  /** Queue pairs that were set up. */
  readonly pairs: number
  /** Those of this thread. */
  readonly own: ReadonlySet<QueuePairEngine>
  readonly offloads: { readonly transmit: NetOffloads; readonly receive: NetOffloads }
  readonly options: NetOptions
}

/**
 * All that a device is told by commands, and the driver's memory of it.
 * @see VIRTIO 1.3 § 5.1.6.5 "Control Virtqueue"
 */
export abstract class NetCommands {
  /** @internal */
  protected readonly filter: DeviceFilter
  /** @internal */
  protected readonly steering: QueueSteering
  readonly #parts: NetCommandsParts
  readonly #coalescing: NotificationCoalescing
  #mac: Uint8Array
  #ownMac: boolean
  #receiveOffloads: NetOffloads

  constructor(parts: NetCommandsParts) {
    const { device, control, initial, limits, pairs, offloads, options } = parts
    const { features, location } = device
    this.#parts = parts
    this.filter = new DeviceFilter(control, features, location)
    this.steering = new QueueSteering({ control, features, device: location, limits, pairs })
    this.#coalescing = new NotificationCoalescing(control, features, location)
    this.#ownMac = options.mac !== undefined
    this.#mac = options.mac?.slice() ?? initial.mac ?? randomMac()
    this.#receiveOffloads = offloads.receive
  }

  /** The address in use: the owner's, the device's, or a random locally administered one. A copy. */
  get mac(): Uint8Array {
    return this.#mac.slice()
  }

  get features(): NegotiatedFeatures<NetFeatureName> {
    return this.#parts.device.features
  }

  /** `transmit`: what may be left to the device, so what a TAP interface is told; `receive`: what the device may leave to us. */
  get offloads(): { readonly transmit: NetOffloads; readonly receive: NetOffloads } {
    return { transmit: this.#parts.offloads.transmit, receive: this.#receiveOffloads }
  }

  /** Commands reject with VirtioError `net.unsupported` (feature not negotiated), `net.control-refused` or `net.control-timeout`. */
  setReceiveMode(mode: ReceiveMode, options?: ControlOptions): Promise<void> {
    return this.filter.setReceiveMode(mode, options)
  }

  setMacTable(table: MacTable, options?: ControlOptions): Promise<void> {
    return this.filter.setMacTable(table, options)
  }

  addVlan(id: number, options?: ControlOptions): Promise<void> {
    return this.filter.setVlan(id, true, options)
  }

  removeVlan(id: number, options?: ControlOptions): Promise<void> {
    return this.filter.setVlan(id, false, options)
  }

  /** Gives the device another address; also on legacy devices without the command. */
  async setMac(mac: Uint8Array, options?: ControlOptions): Promise<void> {
    if (!isUnicastMac(mac)) throw new RangeError(`${formatMac(mac)} cannot be the address of an interface`)
    await this.#tellMac(mac, options)
    this.#mac = mac.slice()
    this.#ownMac = true
  }

  /** Switches receive offloads; those left out are switched off. @throws RangeError for one that was not negotiated */
  async setGuestOffloads(offloads: Partial<NetOffloads>, options?: ControlOptions): Promise<void> {
    const { receive } = this.#parts.offloads
    const { checksum = false, tso4 = false, tso6 = false, ecn = false, ufo = false } = offloads
    const wanted = { checksum, tso4, tso6, ecn, ufo }
    await this.filter.setOffloads(wanted, receive, options)
    this.#receiveOffloads = wanted
  }

  /**
   * Changes how many of `pairs` are in use: the first ones. Frames go out by those only, and packets come in by those only; what others
   * have received until now is still there. Pairs that another thread has are that thread's to disable before, and to enable after.
   * @throws RangeError for more than were set up; VirtioError as other commands
   */
  async setQueuePairs(pairs: number, options?: ControlOptions): Promise<void> {
    const before = this.steering.pairs
    // VIRTIO 1.3 § 5.1.6.5.6.1 "Driver Requirements: Automatic receive steering in multiqueue mode": nothing is queued on others from
    // the moment the command is available.
    if (pairs >= 1) this.#enable(Math.min(before, pairs))
    try {
      await this.steering.setPairs(pairs, options)
    } finally {
      this.#enable(this.steering.pairs)
    }
  }

  /** How packets are spread over pairs; undefined without RSS. */
  get rss(): RssSetting | undefined {
    return this.steering.rss
  }

  /** Spreads packets anew. @throws RangeError for what the device or the number of pairs in use does not allow */
  setRss(config: RssConfig, options?: ControlOptions): Promise<void> {
    return this.steering.setRss(config, options)
  }

  /** How the hashes reported with packets are calculated; undefined without `hashReport`. */
  get hash(): HashSetting | undefined {
    return this.features.has('HASH_REPORT') ? (this.steering.hash ?? this.steering.rss) : undefined
  }

  setHash(config: HashConfig, options?: ControlOptions): Promise<void> {
    return this.steering.setHash(config, options)
  }

  /** How long the device may put off used buffer notifications, for all queues of a direction; needs NOTF_COAL. */
  setCoalescing(direction: Direction, coalescing: Coalescing, options?: ControlOptions): Promise<void> {
    return this.#coalescing.set(direction, coalescing, options)
  }

  /** The same for one queue; these two need VQ_NOTF_COAL. */
  setQueueCoalescing(pair: number, direction: Direction, to: Coalescing, options?: ControlOptions): Promise<void> {
    this.checkPair(pair)
    return this.#coalescing.setQueue(pair, direction, to, options)
  }

  queueCoalescing(pair: number, direction: Direction, options?: ControlOptions): Promise<Coalescing> {
    this.checkPair(pair)
    return this.#coalescing.getQueue(pair, direction, options)
  }

  /** What the device was told and forgets in a reset: for the `settings` of the next `open()`. Plain data. */
  settings(): NetSettings {
    const { rss, hash, pairs } = this.steering
    const coalescing = this.#coalescing.settings
    return {
      ...this.filter.settings,
      ...(this.#ownMac && { mac: this.mac }),
      queuePairs: pairs,
      ...(rss && { rss }),
      ...(hash && { hash }),
      ...(Object.keys(coalescing).length > 0 && { coalescing }),
    }
  }

  /** What the device is told at first: before packets move, and before pairs but the first are used. @internal */
  protected async tellAtFirst(): Promise<void> {
    const { device, initial, offloads, options } = this.#parts
    const { mac, settings, rss, hashReport } = options
    const { features, legacy } = device
    const isNew = initial.mac === undefined || formatMac(initial.mac) !== formatMac(this.#mac)
    if (isNew && macSetting(features, legacy) !== 'none') {
      // VIRTIO 1.3 § 5.1.6.5.2.2 "Driver Requirements: Setting MAC Address Filtering": the device SHOULD be told. Where the address is the
      // owner's wish that must work; a random one serves without.
      const told = this.#tellMac(this.#mac)
      await (mac ? told : told.catch(() => {}))
    }
    if (settings) {
      const switched = await restoreSettings(settings, features, this.filter, this.#coalescing, offloads.receive)
      if (switched) this.#receiveOffloads = switched
    }
    const inUse = Math.min(settings?.queuePairs ?? this.#parts.pairs, this.#parts.pairs)
    this.#enable(1)
    await this.steering.start(inUse, rss instanceof Object ? rss : {}, hashReport instanceof Object ? hashReport : {})
    this.#enable(inUse)
  }

  /** @internal */
  protected checkPair(pair: number): void {
    const { pairs } = this.#parts
    if (!(Number.isInteger(pair) && pair >= 0 && pair < pairs))
      throw new RangeError(`there is no pair ${pair}: ${pairs} are set up`)
  }

  #enable(pairs: number): void {
    for (const { shape, transmit } of this.#parts.own) transmit.setEnabled(shape.index < pairs)
  }

  async #tellMac(mac: Uint8Array, options?: ControlOptions): Promise<void> {
    if (macSetting(this.#parts.device.features, this.#parts.device.legacy) === 'config')
      await this.#parts.device.config.write(0, mac)
    else await this.filter.setMac(mac, options)
  }
}
