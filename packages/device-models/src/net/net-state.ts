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
}

export const RECEIVE_QUEUE = 0
export const TRANSMIT_QUEUE = 1
export const CONTROL_QUEUE = 2

export function negotiated(state: NetState, name: NetFeatureName): boolean {
  return hasFeature(state.host?.features ?? 0n, NetFeature[name])
}
