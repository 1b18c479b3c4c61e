import type { DeviceConfig, DriverSpec, NegotiatedFeatures, QueueSpec } from '@virtio-ts/core'
import { DeviceType, type FeatureDependency, NetConfig, NetFeature, netFeatureDependencies } from '@virtio-ts/spec'
import { isUnicastMac } from './mac-address.ts'
import { MIN_MTU } from './net-limits.ts'

/** Every device feature bit this driver can use, all of them for one queue pair. */
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
  CTRL_MAC_ADDR: NetFeature.CTRL_MAC_ADDR,
  GUEST_HDRLEN: NetFeature.GUEST_HDRLEN,
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
  | 'CTRL_MAC_ADDR'
  | 'GUEST_HDRLEN'
  | 'SPEED_DUPLEX'

/** @see VIRTIO 1.3 § 5.1.2 "Virtqueues" */
export type NetQueue = 'receiveq1' | 'transmitq1' | 'controlq'

export type NetFeatures = NegotiatedFeatures<NetDriverFeature>

/** Queues of more descriptors than this buy no speed, only memory. */
const QUEUE_SIZE = 1024
const CONTROL_QUEUE_SIZE = 64

/**
 * The network device as data. MQ is left alone, so there is one queue pair, and the control queue is queue 2.
 * @see VIRTIO 1.3 § 5.1 "Network Device"
 */
export const netSpec: DriverSpec<NetDriverFeature, NetQueue> = {
  name: 'net',
  deviceType: DeviceType.NETWORK,
  features: netFeatures,
  dependencies: supportedDependencies(),
  validate: rejectBadConfig,
  queues: chooseQueues,
}

/**
 * The same for a driver whose owner chose the address: MAC, which obliges the driver to use the device's, is left out where
 * there is no way to tell the device about another one.
 */
export function netSpecWithOwnMac(legacy: boolean): DriverSpec<NetDriverFeature, NetQueue> {
  return {
    ...netSpec,
    validate: async (features, config) => {
      const rejected = await rejectBadConfig(features, config)
      return macSetting(features, legacy) === 'none' ? [...rejected, 'MAC'] : rejected
    },
  }
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

async function chooseQueues(features: NetFeatures): Promise<readonly QueueSpec<NetQueue>[]> {
  const pair: QueueSpec<NetQueue>[] = [
    { name: 'receiveq1', index: 0, size: QUEUE_SIZE },
    { name: 'transmitq1', index: 1, size: QUEUE_SIZE },
  ]
  return features.has('CTRL_VQ') ? [...pair, { name: 'controlq', index: 2, size: CONTROL_QUEUE_SIZE }] : pair
}

function supportedDependencies(): readonly FeatureDependency<NetDriverFeature>[] {
  const isSupported = (name: string): name is NetDriverFeature => name in netFeatures
  const supported: FeatureDependency<NetDriverFeature>[] = []
  for (const { feature, anyOf } of netFeatureDependencies) {
    if (isSupported(feature)) supported.push({ feature, anyOf: anyOf.filter(isSupported) })
  }
  return supported
}
