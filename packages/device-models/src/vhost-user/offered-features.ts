import {
  featureSet,
  ReservedFeature,
  type ReservedFeatureName,
  VhostUserProtocolFeature,
  type VhostUserProtocolFeatureName,
} from '@virtio-ts/spec'
import type { DeviceModel } from '../device-model.ts'
import type { VhostUserOptions } from './vhost-user-options.ts'

/** Feature bits of ring and transport. */
export function offeredRingFeatures(options: VhostUserOptions): bigint {
  const names = new Set<ReservedFeatureName>(['VERSION_1', 'EVENT_IDX', 'INDIRECT_DESC'])
  choose(names, options.ringFeatures)
  return featureSet(...[...names].map((name) => ReservedFeature[name])) | (options.extraFeatures ?? 0n)
}

/** Bits of GET_PROTOCOL_FEATURES; undefined when there is nothing of the kind. */
export function offeredProtocolFeatures(model: DeviceModel, options: VhostUserOptions): bigint | undefined {
  if (options.protocolFeatures === false) return undefined
  const names = new Set<VhostUserProtocolFeatureName>([
    'MQ',
    'REPLY_ACK',
    'BACKEND_REQ',
    'INFLIGHT_SHMFD',
    'RESET_DEVICE',
    'CONFIGURE_MEM_SLOTS',
    'STATUS',
  ])
  if (model.config.length > 0) names.add('CONFIG')
  if (model.onMtu) names.add('NET_MTU')
  choose(names, options.protocolFeatures)
  return featureSet(...[...names].map((name) => VhostUserProtocolFeature[name]))
}

function choose<Name extends string>(
  names: Set<Name>,
  choice: Readonly<Partial<Record<Name, boolean>>> | undefined,
): void {
  for (const [name, offer] of Object.entries(choice ?? {}) as [Name, boolean][]) {
    if (offer) names.add(name)
    else names.delete(name)
  }
}
