import { featureSet, ReservedFeature } from '@virtio-ts/spec'
import type { BackEndConfig } from './back-end-config.ts'

/** A queue that the front-end serves itself. */
export interface OwnQueue {
  readonly index: number
  readonly size: number
  readonly obey: (command: Uint8Array) => Promise<number>
}

/** What a device type adds to, or takes from, what the back-end is. */
export interface DevicePart {
  /** Bytes of the device configuration space. */
  readonly configLength: number
  /** What the driver is offered. */
  offer(): bigint
  /** What of it the back-end is told. */
  forward(accepted: bigint): bigint
  /** Before rings are set up, with what the driver accepted. */
  begin(accepted: bigint): Promise<void>
  readConfig(): Promise<Uint8Array>
  writeConfig(offset: number, from: Uint8Array): Promise<void>
  /** Whether the back-end has a queue of this index. */
  hasQueue(index: number): boolean
  /** Whether this queue is switched on with DRIVER_OK; others are by a command. */
  isOnAtStart(index: number): boolean
  /** The queue that is served here, once features are accepted. */
  ownQueue(): OwnQueue | undefined
  /** Queues at most, as far as anybody knows. */
  readonly queues: number
}

/** Bit 26 is vhost's own (log all writes), bit 30 vhost-user's; what the others need, there is no message for. */
const VHOST_F_LOG_ALL = 26
const VHOST_USER_F_PROTOCOL_FEATURES = 30

/** Bits that never reach a driver: they are the protocol's, or ask for an IOMMU or another kind of notification. */
export const unusableFeatures: bigint = featureSet(
  VHOST_F_LOG_ALL,
  VHOST_USER_F_PROTOCOL_FEATURES,
  ReservedFeature.ACCESS_PLATFORM,
  ReservedFeature.SR_IOV,
  ReservedFeature.NOTIFICATION_DATA,
  ReservedFeature.NOTIF_CONFIG_DATA,
  ReservedFeature.ADMIN_VQ,
)

/** The highest number a message about a ring has room for, and one. */
export const MAX_QUEUES = 256

/** A device that is all the back-end's. */
export class PlainPart implements DevicePart {
  readonly queues: number
  readonly #features: bigint
  readonly #config: BackEndConfig | undefined

  /** @param queues as the back-end counts them; undefined where it does not say */
  constructor(features: bigint, config: BackEndConfig | undefined, queues: number | undefined) {
    this.#features = features & ~unusableFeatures
    this.#config = config
    this.queues = Math.min(queues ?? MAX_QUEUES, MAX_QUEUES)
  }

  get configLength(): number {
    return this.#config?.length ?? 0
  }

  offer(): bigint {
    return this.#features
  }

  forward(accepted: bigint): bigint {
    return accepted
  }

  async begin(): Promise<void> {}

  async readConfig(): Promise<Uint8Array> {
    return (await this.#config?.read()) ?? new Uint8Array(0)
  }

  async writeConfig(offset: number, from: Uint8Array): Promise<void> {
    await this.#config?.write(offset, from)
  }

  hasQueue(index: number): boolean {
    return index < this.queues
  }

  isOnAtStart(): boolean {
    return true
  }

  ownQueue(): undefined {
    return undefined
  }
}
