/**
 * Driver for the virtio network device: one queue pair, every offload and filter, as offsets and integers or as frames.
 * @packageDocumentation
 */
export { completeChecksum } from './complete-checksum.ts'
export type { ControlOptions } from './control-queue.ts'
export type { MacTable, ReceiveMode } from './device-filter.ts'
export { formatMac, isUnicastMac, randomMac } from './mac-address.ts'
export { NetDriver } from './net-driver.ts'
export type { NetEvents } from './net-events.ts'
export { NetHeaderFields, netHeaderLength } from './net-header.ts'
export { NetHeaderFault, type NetHeaderFaultCode, netHeaderFaultNames } from './net-header-fault.ts'
export { HEAD_LENGTH } from './net-limits.ts'
export type { NetOffloads } from './net-offloads.ts'
export type { NetOptions } from './net-options.ts'
export { type NetDriverFeature, type NetQueue, netSpec } from './net-spec.ts'
export type { InvalidConfig, LinkState } from './net-state.ts'
export { RECEIVED_HEAD_LENGTH, type ReceivedPacket } from './received-packet.ts'
export { type NetHeaderPolicy, validateNetHeader } from './validate-net-header.ts'
