import { closeFeatures, featureSet, NetFeature, type NetFeatureName, netFeatureDependencies } from '@virtio-ts/spec'

export interface NetModelOptions {
  /** @defaultValue '52:54:00:12:34:56' */
  readonly mac?: string
  /** Features to offer (true) or not (false), different from the default. What then lacks its requirement is not offered either. */
  readonly features?: Readonly<Partial<Record<NetFeatureName, boolean>>>
  /** Feature bits to offer just so, even against the specification, in place of `features`. */
  readonly rawFeatures?: bigint
  /** @defaultValue 1500 */
  readonly mtu?: number
  /** In units of 1 Mbit/s. @defaultValue 10000 */
  readonly speed?: number
  /** 0 half, 1 full, 0xff unknown. @defaultValue 1 */
  readonly duplex?: number
  /** @defaultValue true */
  readonly linkUp?: boolean
  /** Queue pairs behind MQ and RSS, for `features` that have them. @defaultValue 1 */
  readonly queuePairs?: number
  /** What `max_virtqueue_pairs` says, where that is not `queuePairs`. */
  readonly maxPairs?: number
  /** Longest key, most entries of the table, and supported types of hashes. @defaultValue [40, 128, all] */
  readonly hashLimits?: readonly [number, number, number]
  /** Largest size of receive, transmit and control queue; more entries are queues with nothing behind. @defaultValue [256, 256, 64] */
  readonly queueSizes?: readonly number[]
  /** Frames to the driver kept while it has no buffers for them; those beyond are dropped. @defaultValue 256 */
  readonly backlog?: number
  /** Whether the device starts promiscuous after each reset, as some do. @defaultValue false */
  readonly promiscuous?: boolean
}

const DEFAULT_FEATURES: readonly NetFeatureName[] = [
  'CSUM',
  'GUEST_CSUM',
  'CTRL_GUEST_OFFLOADS',
  'MTU',
  'MAC',
  'GUEST_TSO4',
  'GUEST_TSO6',
  'GUEST_ECN',
  'GUEST_UFO',
  'HOST_TSO4',
  'HOST_TSO6',
  'HOST_ECN',
  'HOST_UFO',
  'MRG_RXBUF',
  'STATUS',
  'CTRL_VQ',
  'CTRL_RX',
  'CTRL_VLAN',
  'CTRL_RX_EXTRA',
  'GUEST_ANNOUNCE',
  'CTRL_MAC_ADDR',
  'SPEED_DUPLEX',
]

/** The bits an offload command may switch. VIRTIO 1.3 § 5.1.6.5.8.1 "Setting Offloads State" */
export const GUEST_OFFLOADS: bigint = featureSet(
  NetFeature.GUEST_CSUM,
  NetFeature.GUEST_TSO4,
  NetFeature.GUEST_TSO6,
  NetFeature.GUEST_ECN,
  NetFeature.GUEST_UFO,
)

/** VIRTIO 1.3 § 2.2.2 "Device Requirements: Feature Bits": nothing is offered without what it needs. */
export function offeredNetFeatures(options: NetModelOptions): bigint {
  if (options.rawFeatures !== undefined) return options.rawFeatures
  const names = new Set(DEFAULT_FEATURES)
  for (const [name, offer] of Object.entries(options.features ?? {}) as [NetFeatureName, boolean][]) {
    if (offer) names.add(name)
    else names.delete(name)
  }
  const set = featureSet(...[...names].map((name) => NetFeature[name]))
  return closeFeatures(set, NetFeature, netFeatureDependencies).set
}
