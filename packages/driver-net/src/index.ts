/**
 * Driver for the virtio network device: its queue pairs, every offload and filter, as offsets and integers or as frames.
 * @packageDocumentation
 */
export { completeChecksum } from './complete-checksum.ts'
export type { ControlOptions } from './control-queue.ts'
export type { MacTable, ReceiveMode } from './device-filter.ts'
export { formatMac, isUnicastMac, randomMac } from './mac-address.ts'
export { type NetDeviceDescription, NetDriver } from './net-driver.ts'
export type { NetEvents } from './net-events.ts'
export { NetHeaderFields, type NetHeaderLength, netHeaderLength } from './net-header.ts'
export { NetHeaderFault, type NetHeaderFaultCode, netHeaderFaultNames } from './net-header-fault.ts'
export { HEAD_LENGTH } from './net-limits.ts'
export type { NetOffloads } from './net-offloads.ts'
export type { NetOptions } from './net-options.ts'
export {
  type AdoptPairOptions,
  type FaultReport,
  type NetPairTransfer,
  NetQueuePair,
  type PairReport,
} from './net-queue-pair.ts'
export type { NetSettings } from './net-settings.ts'
export { type NetDriverFeature, type NetQueue, netSpec } from './net-spec.ts'
export type { InvalidConfig, LinkState } from './net-state.ts'
export type { Coalescing, CoalescingSettings, Direction } from './notification-coalescing.ts'
export { packetHash } from './packet-hash.ts'
export { RECEIVED_HEAD_LENGTH, type ReceivedPacket } from './received-packet.ts'
export {
  DEFAULT_HASH_KEY,
  type HashConfig,
  type HashSetting,
  type RssConfig,
  type RssSetting,
} from './steering-options.ts'
export { toeplitz } from './toeplitz.ts'
export { type NetHeaderPolicy, validateNetHeader } from './validate-net-header.ts'
