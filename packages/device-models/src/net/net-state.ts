import { hasFeature, type NetFeatureName, NetFeature } from '@virtio-ts/spec'
import type { DeviceHost } from '../device-model.ts'
import type { NetConfigBytes } from './net-config.ts'
import type { NetCounters } from './net-counters.ts'
import type { ReceiveFilter } from './receive-filter.ts'

/** What the parts of a network device share. */
export interface NetState {
  readonly config: NetConfigBytes
  readonly filter: ReceiveFilter
  readonly counters: NetCounters
  host: DeviceHost | undefined
  linkUp: boolean
  /** Offloads that the driver takes now: feature bits. */
  offloads: bigint
  /** Queue pairs the device has. */
  readonly pairs: number
}

export const TRANSMIT_QUEUE = 1
/** Where there is one pair. */
export const CONTROL_QUEUE = 2

/** VIRTIO 1.3 § 5.1.2 "Virtqueues": behind all pairs the device has, for drivers that know of them. */
export function controlQueue(state: NetState): number {
  return isMultiqueue(state) ? 2 * state.pairs : CONTROL_QUEUE
}

export function isMultiqueue(state: NetState): boolean {
  return negotiated(state, 'MQ') || negotiated(state, 'RSS')
}

export function negotiated(state: NetState, name: NetFeatureName): boolean {
  return hasFeature(state.host?.features ?? 0n, NetFeature[name])
}
