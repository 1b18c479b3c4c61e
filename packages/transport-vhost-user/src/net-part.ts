import { featureSet, hasFeature, NetConfig, NetControl, NetFeature } from '@virtio-ts/spec'
import type { BackEndConfig } from './back-end-config.ts'
import { type DevicePart, MAX_QUEUES, type OwnQueue, unusableFeatures } from './device-part.ts'
import type { FrontEnd } from './front-end.ts'
import { NetControlCommands } from './net-control.ts'

export interface NetPartOptions {
  /** The device's address, six bytes. */
  readonly mac: Uint8Array
  /** Whether the owner chose it: then it counts, and not the back-end's. */
  readonly isOwnMac: boolean
  readonly mtu: number | undefined
  /** Switches the rings of a pair on or off. @returns whether they were there */
  readonly usePairs: (pairs: number) => Promise<boolean>
}

/** Needs a control queue, or a word of the configuration that only the queue's server can say. */
const controlFeatures = featureSet(
  NetFeature.CTRL_GUEST_OFFLOADS,
  NetFeature.CTRL_VQ,
  NetFeature.CTRL_RX,
  NetFeature.CTRL_VLAN,
  NetFeature.CTRL_RX_EXTRA,
  NetFeature.GUEST_ANNOUNCE,
  NetFeature.MQ,
  NetFeature.CTRL_MAC_ADDR,
  NetFeature.HASH_TUNNEL,
  NetFeature.VQ_NOTF_COAL,
  NetFeature.NOTF_COAL,
  NetFeature.HASH_REPORT,
  NetFeature.RSS,
)
/** Fields of a configuration space the back-end does not have. */
const configFeatures = featureSet(
  NetFeature.MAC,
  NetFeature.STATUS,
  NetFeature.MTU,
  NetFeature.STANDBY,
  NetFeature.SPEED_DUPLEX,
)
const servedFeatures = featureSet(NetFeature.CTRL_VQ, NetFeature.CTRL_RX, NetFeature.CTRL_MAC_ADDR)
const MQ = featureSet(NetFeature.MQ)
const CONTROL_QUEUE_SIZE = 64
/** As far as the MTU, the last field that may be filled in here. */
const OWN_CONFIG_LENGTH = NetConfig.MTU + 2

/**
 * A network device whose back-end moves packets and does nothing else, as nearly all of them: address, link and control queue are the
 * front-end's. What a back-end does itself is left to it: the fields of its configuration space where it has one, the control queue where it
 * counts a ring for it.
 * @see VIRTIO 1.3 § 5.1 "Network Device"
 */
export class NetPart implements DevicePart {
  readonly #frontEnd: FrontEnd
  readonly #options: NetPartOptions
  readonly #config: BackEndConfig | undefined
  readonly #pairs: number
  readonly #controlIsBackEnds: boolean
  readonly #control: NetControlCommands
  /** What the driver is offered although the back-end does not have it. */
  readonly #added: bigint
  readonly #offered: bigint
  #mac: Uint8Array
  #accepted = 0n

  private constructor(frontEnd: FrontEnd, options: NetPartOptions, config: BackEndConfig | undefined, facts: NetFacts) {
    this.#frontEnd = frontEnd
    this.#options = options
    this.#config = config
    this.#pairs = facts.pairs
    this.#controlIsBackEnds = facts.controlIsBackEnds
    this.#mac = options.mac
    this.#control = new NetControlCommands({
      pairs: facts.pairs,
      usePairs: options.usePairs,
      onMac: (mac) => {
        this.#mac = mac
      },
    })
    const features = frontEnd.features & ~unusableFeatures
    let own = config ? 0n : configFeatures
    if (!facts.controlIsBackEnds) own |= controlFeatures
    let added = featureSet(NetFeature.MAC, NetFeature.STATUS)
    if (options.mtu !== undefined) added |= featureSet(NetFeature.MTU)
    if (!facts.controlIsBackEnds) added |= facts.pairs > 1 ? servedFeatures | MQ : servedFeatures
    this.#added = added & (own | ~features)
    this.#offered = (features & ~own) | this.#added
  }

  static async open(
    frontEnd: FrontEnd,
    options: NetPartOptions,
    config: BackEndConfig | undefined,
    queues: number | undefined,
  ): Promise<NetPart> {
    return new NetPart(frontEnd, options, config, await findFacts(frontEnd, config, queues))
  }

  get configLength(): number {
    return Math.max(this.#config?.length ?? 0, OWN_CONFIG_LENGTH)
  }

  get queues(): number {
    return 2 * this.#pairs + (this.#controlIsBackEnds ? 1 : 0)
  }

  /** What the driver asked of the control queue that is served here. */
  get control(): NetControlCommands {
    return this.#control
  }

  offer(): bigint {
    return this.#offered
  }

  /** MQ is the back-end's too, which gives up rings when nobody wants them (DPDK). */
  forward(accepted: bigint): bigint {
    return accepted & this.#frontEnd.features & (~this.#added | MQ)
  }

  async begin(accepted: bigint): Promise<void> {
    this.#accepted = accepted
    const { mtu } = this.#options
    if (mtu === undefined || !this.#frontEnd.has('NET_MTU')) return
    if (hasFeature(accepted, NetFeature.MTU)) await this.#frontEnd.setMtu(mtu)
  }

  async readConfig(): Promise<Uint8Array> {
    const contents = new Uint8Array(this.configLength)
    if (this.#config) contents.set(await this.#config.read())
    const view = new DataView(contents.buffer)
    const { mtu, isOwnMac } = this.#options
    const isAdded = (feature: number): boolean => hasFeature(this.#added, feature)
    if (isAdded(NetFeature.MAC) || isOwnMac || this.#mac !== this.#options.mac) contents.set(this.#mac, NetConfig.MAC)
    // Connected is up: a back-end has no message for anything else.
    if (isAdded(NetFeature.STATUS)) view.setUint16(NetConfig.STATUS, NetConfig.S_LINK_UP, true)
    if (isAdded(NetFeature.MQ)) view.setUint16(NetConfig.MAX_VIRTQUEUE_PAIRS, this.#pairs, true)
    if (mtu !== undefined) view.setUint16(NetConfig.MTU, mtu, true)
    return contents
  }

  /** VIRTIO 1.3 § 5.1.4 "Device configuration layout": all its fields are read-only. */
  async writeConfig(): Promise<void> {}

  hasQueue(index: number): boolean {
    if (index < 2 * this.#pairs) return true
    return this.#controlIsBackEnds && index === 2 * this.#pairs
  }

  /** VIRTIO 1.3 § 5.1.6.5.6.2 "Device Requirements: Automatic receive steering in multiqueue mode": one pair, until told otherwise. */
  isOnAtStart(index: number): boolean {
    return index < 2 || index === this.#controlIndex || this.#controlIsBackEnds
  }

  ownQueue(): OwnQueue | undefined {
    if (this.#controlIsBackEnds || !hasFeature(this.#accepted, NetFeature.CTRL_VQ)) return undefined
    return {
      index: this.#controlIndex,
      size: CONTROL_QUEUE_SIZE,
      obey: (command) => this.#control.obey(command),
    }
  }

  /** VIRTIO 1.3 § 5.1.2 "Virtqueues": behind all pairs there are with MQ, behind the first without. */
  get #controlIndex(): number {
    return hasFeature(this.#accepted, NetFeature.MQ) ? 2 * this.#pairs : 2
  }
}

interface NetFacts {
  readonly pairs: number
  readonly controlIsBackEnds: boolean
}

/**
 * How many queue pairs there are, and whose the control queue is. Back-ends count pairs, not rings; one that counts a ring for the control
 * queue as well (at least 2N + 1 for N pairs, as its configuration says) and offers the queue serves it.
 */
async function findFacts(
  frontEnd: FrontEnd,
  config: BackEndConfig | undefined,
  queues: number | undefined,
): Promise<NetFacts> {
  const offersMq = hasFeature(frontEnd.features, NetFeature.MQ)
  if (config && queues !== undefined && hasFeature(frontEnd.features, NetFeature.CTRL_VQ)) {
    const hasPairs = offersMq || hasFeature(frontEnd.features, NetFeature.RSS)
    const pairs = hasPairs ? await configuredPairs(config) : 1
    if (pairs >= 1 && queues >= 2 * pairs + 1) return { pairs, controlIsBackEnds: true }
  }
  const most = Math.min(MAX_QUEUES / 2, NetControl.MQ.MAX_PAIRS)
  return { pairs: offersMq ? Math.max(1, Math.min(queues ?? 1, most)) : 1, controlIsBackEnds: false }
}

async function configuredPairs(config: BackEndConfig): Promise<number> {
  const contents = await config.read()
  if (contents.length < NetConfig.MAX_VIRTQUEUE_PAIRS + 2) return 0
  return new DataView(contents.buffer, contents.byteOffset).getUint16(NetConfig.MAX_VIRTQUEUE_PAIRS, true)
}
