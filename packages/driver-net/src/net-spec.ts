import type { DeviceConfig, DriverSpec, NegotiatedFeatures, QueueSpec } from '@virtio-ts/core'
import {
  DeviceType,
  type FeatureDependency,
  NetConfig,
  NetControl,
  NetFeature,
  NetHashType,
  netFeatureDependencies,
  NetRss,
} from '@virtio-ts/spec'
import { isUnicastMac } from './mac-address.ts'
import { MIN_MTU } from './net-limits.ts'
import { invalidConfigError } from './net-state.ts'

/** Every device feature bit this driver can use. */
export const netFeatures: Readonly<Record<NetDriverFeature, number>> = {
  CSUM: NetFeature.CSUM,
  GUEST_CSUM: NetFeature.GUEST_CSUM,
  CTRL_GUEST_OFFLOADS: NetFeature.CTRL_GUEST_OFFLOADS,
  MTU: NetFeature.MTU,
  MAC: NetFeature.MAC,
  GUEST_TSO4: NetFeature.GUEST_TSO4,
  GUEST_TSO6: NetFeature.GUEST_TSO6,
  GUEST_ECN: NetFeature.GUEST_ECN,
  GUEST_UFO: NetFeature.GUEST_UFO,
  HOST_TSO4: NetFeature.HOST_TSO4,
  HOST_TSO6: NetFeature.HOST_TSO6,
  HOST_ECN: NetFeature.HOST_ECN,
  HOST_UFO: NetFeature.HOST_UFO,
  MRG_RXBUF: NetFeature.MRG_RXBUF,
  STATUS: NetFeature.STATUS,
  CTRL_VQ: NetFeature.CTRL_VQ,
  CTRL_RX: NetFeature.CTRL_RX,
  CTRL_VLAN: NetFeature.CTRL_VLAN,
  CTRL_RX_EXTRA: NetFeature.CTRL_RX_EXTRA,
  GUEST_ANNOUNCE: NetFeature.GUEST_ANNOUNCE,
  MQ: NetFeature.MQ,
  CTRL_MAC_ADDR: NetFeature.CTRL_MAC_ADDR,
  VQ_NOTF_COAL: NetFeature.VQ_NOTF_COAL,
  NOTF_COAL: NetFeature.NOTF_COAL,
  HASH_REPORT: NetFeature.HASH_REPORT,
  GUEST_HDRLEN: NetFeature.GUEST_HDRLEN,
  RSS: NetFeature.RSS,
  SPEED_DUPLEX: NetFeature.SPEED_DUPLEX,
}

export type NetDriverFeature =
  | 'CSUM'
  | 'GUEST_CSUM'
  | 'CTRL_GUEST_OFFLOADS'
  | 'MTU'
  | 'MAC'
  | 'GUEST_TSO4'
  | 'GUEST_TSO6'
  | 'GUEST_ECN'
  | 'GUEST_UFO'
  | 'HOST_TSO4'
  | 'HOST_TSO6'
  | 'HOST_ECN'
  | 'HOST_UFO'
  | 'MRG_RXBUF'
  | 'STATUS'
  | 'CTRL_VQ'
  | 'CTRL_RX'
  | 'CTRL_VLAN'
  | 'CTRL_RX_EXTRA'
  | 'GUEST_ANNOUNCE'
  | 'MQ'
  | 'CTRL_MAC_ADDR'
  | 'VQ_NOTF_COAL'
  | 'NOTF_COAL'
  | 'HASH_REPORT'
  | 'GUEST_HDRLEN'
  | 'RSS'
  | 'SPEED_DUPLEX'

/** Numbers from 1, as the specification counts them. @see VIRTIO 1.3 § 5.1.2 "Virtqueues" */
export type NetQueue = `receiveq${number}` | `transmitq${number}` | 'controlq'

export type NetFeatures = NegotiatedFeatures<NetDriverFeature>

/** Queues of more descriptors than this buy no speed, only memory. */
const QUEUE_SIZE = 1024
const CONTROL_QUEUE_SIZE = 64
const MAX_QUEUE_INDEX = 0xffff

/** What an owner's wishes make of the specification's device. */
export interface NetSpecOptions {
  /** Queue pairs to set up at most; what the device has counts where that is less. @defaultValue 1 */
  readonly queuePairs?: number
  /** The owner chose the address; on a legacy device or not. */
  readonly ownMac?: boolean
  readonly legacy?: boolean
  /** Told what the device says it has, when it is asked. */
  readonly onMaxPairs?: (pairs: number) => void
}

/**
 * The network device as data. With `ownMac`, MAC, which obliges the driver to use the device's address, is left out where there is no
 * way to tell the device about another one.
 * @see VIRTIO 1.3 § 5.1 "Network Device"
 */
export function makeNetSpec(options: NetSpecOptions = {}): DriverSpec<NetDriverFeature, NetQueue> {
  const { queuePairs = 1, ownMac = false, legacy = false, onMaxPairs } = options
  return {
    name: 'net',
    deviceType: DeviceType.NETWORK,
    features: netFeatures,
    dependencies: supportedDependencies(),
    validate: async (features, config) => {
      const rejected = await rejectBadConfig(features, config)
      return ownMac && macSetting(features, legacy) === 'none' ? [...rejected, 'MAC'] : rejected
    },
    queues: async (features, config) => {
      const most = isMultiqueue(features) ? await readMaxPairs(config) : 1
      onMaxPairs?.(most)
      return chooseQueues(features, Math.min(queuePairs, most), most)
    },
  }
}

/** The same for a single queue pair. */
export const netSpec: DriverSpec<NetDriverFeature, NetQueue> = makeNetSpec()

/** Whether `max_virtqueue_pairs` is there, and says where the control queue is. */
export function isMultiqueue(features: NetFeatures): boolean {
  return features.has('MQ') || features.has('RSS')
}

export function receiveQueueName(pair: number): NetQueue {
  return `receiveq${pair + 1}`
}

export function transmitQueueName(pair: number): NetQueue {
  return `transmitq${pair + 1}`
}

/**
 * How the device learns of another address: by a command, by writing its configuration space, or not at all.
 * @see VIRTIO 1.3 § 5.1.6.5.2.2 "Driver Requirements: Setting MAC Address Filtering": no command of that class without CTRL_RX
 * @see VIRTIO 1.3 § 5.1.4.3 "Legacy Interface: Device configuration layout": there the address can be written
 */
export function macSetting(features: NetFeatures, legacy: boolean): 'command' | 'config' | 'none' {
  if (!features.has('CTRL_MAC_ADDR')) return legacy ? 'config' : 'none'
  return features.has('CTRL_RX') ? 'command' : 'none'
}

async function rejectBadConfig(features: NetFeatures, config: DeviceConfig): Promise<readonly NetDriverFeature[]> {
  const rejected: NetDriverFeature[] = []
  if (features.has('MAC') && !(await hasValidMac(config))) rejected.push('MAC')
  if (features.has('STATUS') && config.length < NetConfig.STATUS + 2) rejected.push('STATUS')
  if (features.has('MTU') && !(await hasValidMtu(config))) rejected.push('MTU')
  if (features.has('SPEED_DUPLEX') && config.length < NetConfig.DUPLEX + 1) rejected.push('SPEED_DUPLEX')
  rejected.push(...(await rejectBadSteering(features, config)))
  // The request to announce is a bit of the status field.
  if (!features.has('STATUS') || rejected.includes('STATUS')) rejected.push('GUEST_ANNOUNCE')
  return rejected
}

async function hasValidMac(config: DeviceConfig): Promise<boolean> {
  return config.length >= NetConfig.MAC + 6 && isUnicastMac(await config.bytes(NetConfig.MAC, 6))
}

async function hasValidMtu(config: DeviceConfig): Promise<boolean> {
  return config.length >= NetConfig.MTU + 2 && (await config.read16(NetConfig.MTU)) >= MIN_MTU
}

/** More pairs than 16-bit queue indices reach are as good as none: the control queue comes behind all of them. */
function isValidMaxPairs(pairs: number): boolean {
  return pairs >= NetControl.MQ.MIN_PAIRS && pairs <= NetControl.MQ.MAX_PAIRS && 2 * pairs <= MAX_QUEUE_INDEX
}

/** VIRTIO 1.3 § 5.1.4.1 "Device Requirements: Device configuration layout": pairs from 1 to 0x8000, keys of 40 bytes at least. */
async function rejectBadSteering(features: NetFeatures, config: DeviceConfig): Promise<readonly NetDriverFeature[]> {
  const rejected: NetDriverFeature[] = []
  if (isMultiqueue(features)) {
    const there = config.length >= NetConfig.MAX_VIRTQUEUE_PAIRS + 2
    if (!there || !isValidMaxPairs(await config.read16(NetConfig.MAX_VIRTQUEUE_PAIRS))) rejected.push('MQ', 'RSS')
  }
  if (!features.has('RSS') && !features.has('HASH_REPORT')) return rejected
  if (config.length < NetConfig.SUPPORTED_HASH_TYPES + 4) return [...rejected, 'RSS', 'HASH_REPORT']
  const hashTypes = (await config.read32(NetConfig.SUPPORTED_HASH_TYPES)) & NetHashType.ALL
  const keySize = await config.read8(NetConfig.RSS_MAX_KEY_SIZE)
  if (hashTypes === 0 || keySize < NetRss.KEY_SIZE_MIN) rejected.push('RSS', 'HASH_REPORT')
  if (features.has('RSS') && (await config.read16(NetConfig.RSS_MAX_INDIRECTION_TABLE_LENGTH)) === 0)
    rejected.push('RSS')
  return rejected
}

/** @throws VirtioError `net.config-invalid` when the field says something else than when features were chosen */
async function readMaxPairs(config: DeviceConfig): Promise<number> {
  const pairs = await config.read16(NetConfig.MAX_VIRTQUEUE_PAIRS)
  if (isValidMaxPairs(pairs)) return pairs
  throw invalidConfigError('the network device', { field: 'max_virtqueue_pairs', value: pairs })
}

/** @param most where the control queue is: behind all pairs of the device, in use or not */
function chooseQueues(features: NetFeatures, pairs: number, most: number): readonly QueueSpec<NetQueue>[] {
  const queues: QueueSpec<NetQueue>[] = []
  for (let pair = 0; pair < pairs; pair++) {
    queues.push({ name: receiveQueueName(pair), index: 2 * pair, size: QUEUE_SIZE })
    queues.push({ name: transmitQueueName(pair), index: 2 * pair + 1, size: QUEUE_SIZE })
  }
  if (features.has('CTRL_VQ')) queues.push({ name: 'controlq', index: 2 * most, size: CONTROL_QUEUE_SIZE })
  return queues
}

function supportedDependencies(): readonly FeatureDependency<NetDriverFeature>[] {
  const isSupported = (name: string): name is NetDriverFeature => name in netFeatures
  const supported: FeatureDependency<NetDriverFeature>[] = []
  for (const { feature, anyOf } of netFeatureDependencies) {
    if (isSupported(feature)) supported.push({ feature, anyOf: anyOf.filter(isSupported) })
  }
  return supported
}
