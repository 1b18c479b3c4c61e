import {
  DeviceType,
  type FeatureBit,
  type FeatureDependency,
  NetConfig,
  NetFeature,
  netFeatureDependencies,
  NetHashType,
} from '@virtio-ts/spec'
import type { ConfigField, DeviceHost, DeviceModel } from '../device-model.ts'
import { formatMac, parseMac } from '../packet/mac-address.ts'
import { Rules } from '../rules.ts'
import { CoalescingParameters, type CoalescingState } from './coalescing.ts'
import { ControlPath } from './control-path.ts'
import { NetConfigBytes, netConfigFields } from './net-config.ts'
import { type NetCounters, newCounters } from './net-counters.ts'
import type { NetPacketHeader } from './net-header.ts'
import { GUEST_OFFLOADS, type NetModelOptions, offeredNetFeatures } from './net-options.ts'
import { controlQueue, type NetState, negotiated } from './net-state.ts'
import { type Delivery, ReceivePath } from './receive-path.ts'
import { ReceiveFilter, type ReceiveFilterState } from './receive-filter.ts'
import { Steering } from './steering.ts'
import { type FrameListener, TransmitPath } from './transmit-path.ts'

const { S_LINK_UP, S_ANNOUNCE } = NetConfig

/**
 * The network device: queue pairs and a control queue.
 * @see VIRTIO 1.3 § 5.1 "Network Device"
 */
export class NetModel implements DeviceModel {
  readonly name: string = 'net'
  readonly deviceType: number = DeviceType.NETWORK
  readonly features: bigint
  readonly featureBits: Readonly<Record<string, FeatureBit>> = NetFeature
  readonly featureDependencies: readonly FeatureDependency[] = netFeatureDependencies
  readonly queueSizes: readonly number[]
  readonly configFields: readonly ConfigField[] = netConfigFields
  readonly classCode: number = 0x020000
  readonly #options: NetModelOptions
  readonly #state: NetState
  readonly #steering: Steering
  readonly #coalescing: CoalescingParameters
  readonly #transmit: TransmitPath
  readonly #receive: ReceivePath
  readonly #control: ControlPath
  /** The device's own address: what a reset goes back to. */
  #mac: Uint8Array

  constructor(options: NetModelOptions = {}) {
    this.#options = options
    this.features = offeredNetFeatures(options)
    const pairs = this.#offers('MQ') || this.#offers('RSS') ? (options.queuePairs ?? 1) : 1
    const rings = Array.from({ length: 2 * pairs }, () => 256)
    this.queueSizes = options.queueSizes ?? [...rings, ...(this.#offers('CTRL_VQ') ? [64] : [])]
    this.#mac = parseMac(options.mac ?? '52:54:00:12:34:56')
    const config = new NetConfigBytes(this.features)
    this.#state = {
      pairs,
      config,
      filter: new ReceiveFilter(),
      counters: newCounters(),
      host: undefined,
      linkUp: options.linkUp ?? true,
      offloads: 0n,
    }
    this.#steering = new Steering(this.#state)
    this.#coalescing = new CoalescingParameters(this.#state)
    this.#transmit = new TransmitPath(this.#state, this.#steering)
    this.#receive = new ReceivePath(this.#state, this.#steering, options.backlog ?? 256)
    this.#control = new ControlPath(this.#state, {
      setMac: (mac) => this.#takeMac(mac),
      announced: () => this.#clearAnnounce(),
      steering: this.#steering,
      coalescing: this.#coalescing,
    })
    config.mtu = this.#offers('MTU') ? (options.mtu ?? 1500) : 0
    config.setSpeed(options.speed ?? 10000, options.duplex ?? 1)
    if (this.#offers('MQ') || this.#offers('RSS')) config.maxPairs = options.maxPairs ?? pairs
    config.setHashLimits(...(options.hashLimits ?? [40, 128, NetHashType.ALL]))
    config.status = this.#state.linkUp ? S_LINK_UP : 0
    this.onReset()
  }

  get config(): Uint8Array {
    return this.#state.config.bytes
  }

  get counters(): Readonly<NetCounters> {
    return this.#state.counters
  }

  get receiveFilter(): ReceiveFilterState {
    return this.#state.filter.state
  }

  /** Offloads the driver takes now: the bits of GUEST_CSUM, GUEST_TSO4 and so on. */
  get offloads(): bigint {
    return this.#state.offloads
  }

  /** Queue pairs in use, and how packets are spread over them. */
  get steering(): Readonly<Pick<Steering, 'pairs' | 'rss' | 'hashTypes' | 'key'>> {
    return this.#steering
  }

  /** What the driver said of a queue's notifications. */
  coalescing(queue: number): CoalescingState {
    return this.#coalescing.of(queue)
  }

  get linkUp(): boolean {
    return this.#state.linkUp
  }

  /** Frames waiting for the driver to have buffers. */
  get backlog(): number {
    return this.#receive.queued
  }

  /** Whether an announcement was asked for and not yet acknowledged. */
  get announcePending(): boolean {
    return (this.#state.config.status & S_ANNOUNCE) !== 0
  }

  /** The address in the configuration space. */
  get mac(): string {
    return formatMac(this.#state.config.mac)
  }

  attach(host: DeviceHost): void {
    this.#state.host = host
    this.onReset()
  }

  /**
   * A frame from the network, to the driver. Copied: the caller may use it again at once.
   * @param header what is left to the driver (partial checksum, segmentation); what this driver does not take is done here first
   */
  deliver(frame: Uint8Array, header: Partial<NetPacketHeader> = {}): Delivery {
    return this.#receive.deliver(frame, header)
  }

  /** Calls `listener` with each frame from the driver, as the driver left it. @returns takes the listener off */
  onFrame(listener: FrameListener): () => void {
    return this.#transmit.onFrame(listener)
  }

  setLink(up: boolean): void {
    if (up === this.#state.linkUp) return
    this.#state.linkUp = up
    const { config } = this.#state
    config.status = up ? config.status | S_LINK_UP : config.status & ~S_LINK_UP
    this.#changed('STATUS')
  }

  /** Asks the driver to announce itself. @returns false when it did not negotiate GUEST_ANNOUNCE */
  announce(): boolean {
    if (!negotiated(this.#state, 'GUEST_ANNOUNCE')) return false
    this.#state.config.status |= S_ANNOUNCE
    this.#changed('STATUS')
    return true
  }

  /** No device may do this once the driver has read the MTU: for tests of what then happens, and before a device is set up. */
  setMtu(mtu: number): void {
    this.#state.config.mtu = mtu
    this.#changed('MTU')
  }

  setSpeed(speed: number, duplex: number): void {
    this.#state.config.setSpeed(speed, duplex)
    this.#changed('SPEED_DUPLEX')
  }

  /** Changes the address as a management tool of the device would. */
  setMac(mac: string): void {
    this.#mac = parseMac(mac)
    this.#state.config.setMac(this.#mac)
    this.#changed('MAC')
  }

  onNotify(queue: number): void {
    if (queue === controlQueue(this.#state)) this.#control.run()
    else if (queue >= 2 * this.#state.pairs) return
    else if (queue % 2 === 0) this.#receive.run(queue / 2)
    else this.#transmit.run((queue - 1) / 2)
  }

  onDriverOk(): void {
    const { filter, config } = this.#state
    this.#state.offloads = (this.#state.host?.features ?? 0n) & GUEST_OFFLOADS
    // A driver that cannot ask for multicast gets it, and one that has an address of its own gets everything for anyone.
    filter.set('allMulticast', !negotiated(this.#state, 'CTRL_RX'))
    filter.setMac(negotiated(this.#state, 'MAC') ? formatMac(config.mac) : undefined)
    if (negotiated(this.#state, 'CTRL_VLAN')) filter.filterVlans()
    filter.set('promiscuous', this.#options.promiscuous ?? false)
  }

  onReset(): void {
    const { config, filter } = this.#state
    this.#state.offloads = 0n
    this.#receive.reset()
    this.#steering.reset()
    this.#coalescing.reset()
    filter.reset()
    filter.set('promiscuous', this.#options.promiscuous ?? false)
    config.status &= ~S_ANNOUNCE
    if (this.#offers('MAC')) config.setMac(this.#mac)
  }

  /** VIRTIO 1.3 § 5.1.4.3 "Legacy Interface: Device configuration layout": only the mac, and only there. */
  onConfigWrite(offset: number, bytes: Uint8Array, legacy: boolean): boolean {
    if (!legacy || offset + bytes.length > NetConfig.MAC + 6) {
      this.#state.host?.violation(
        Rules.NET_CONFIG,
        `configuration at ${offset} was written, which is read-only for the driver`,
      )
      return false
    }
    this.config.set(bytes, offset)
    if (negotiated(this.#state, 'MAC')) this.#state.filter.setMac(this.mac)
    return true
  }

  /** VIRTIO 1.3 § 5.1.4.1 "Device Requirements: Device configuration layout": 68 to 65535. */
  onMtu(mtu: number): boolean {
    if (!this.#offers('MTU') || mtu < 68 || mtu > 0xffff) return false
    this.#state.config.mtu = mtu
    return true
  }

  #offers(name: keyof typeof NetFeature): boolean {
    return ((this.features >> BigInt(NetFeature[name])) & 1n) === 1n
  }

  #changed(feature: keyof typeof NetFeature): void {
    if (this.#offers(feature)) this.#state.host?.configChanged(true)
  }

  /** VIRTIO 1.3 § 5.1.6.5.2.1 "Device Requirements: Setting MAC Address Filtering": before the command is consumed. */
  #takeMac(mac: Uint8Array): void {
    this.#state.filter.setMac(formatMac(mac))
    if (!negotiated(this.#state, 'MAC')) return
    this.#state.config.setMac(mac)
    this.#state.host?.configChanged(false)
  }

  #clearAnnounce(): void {
    this.#state.config.status &= ~S_ANNOUNCE
    this.#state.host?.configChanged(false)
  }
}
