/**
 * Software virtio devices, written from the specification alone: they share no code with the driver side, so that a misreading shows.
 * Honest, strict, sloppy, hostile, dying; reachable as a PCI function of this process.
 * @packageDocumentation
 */
export { DescriptorChain } from './descriptor-chain.ts'
export { type DeviceBus, DeviceCore, type DeviceCoreOptions, type DeviceStats } from './device-core.ts'
export { DeviceMemory, type DeviceMemoryOptions, type MemoryBlock } from './device-memory.ts'
export type { ConfigField, DeviceHost, DeviceModel } from './device-model.ts'
export type { DeviceMoments, DevicePoint, DeviceProfile } from './device-profile.ts'
export { DeviceQueue } from './device-queue.ts'
export {
  DeviceSplitRing,
  type DeviceSplitRingOptions,
  type RingAddresses,
  type UsedElement,
} from './device-split-ring.ts'
export { passesEvent } from './event-index.ts'
export type { NetCounters } from './net/net-counters.ts'
export { encodeNetHeader, type NetPacketHeader, netHeaderLength, parseNetHeader } from './net/net-header.ts'
export { NetModel } from './net/net-model.ts'
export type { NetModelOptions } from './net/net-options.ts'
export type { ReceiveFilterState } from './net/receive-filter.ts'
export type { Delivery } from './net/receive-path.ts'
export type { FrameListener } from './net/transmit-path.ts'
export { internetChecksum, onesComplementSum } from './packet/internet-checksum.ts'
export { completeChecksum, toWire } from './packet/segmentation.ts'
export type { FunctionPlan, PlannedBar, PlannedCapability } from './pci/function-plan.ts'
export type { ModelFunctionOptions } from './pci/model-function-options.ts'
export { ModelPciFunction, modelFunction } from './pci/model-pci-function.ts'
export { type FramePort, NetPeer, type NetPeerCounters, type NetPeerOptions } from './peer/net-peer.ts'
export { dying, type DyingOptions } from './profiles/dying.ts'
export { honest } from './profiles/honest.ts'
export { hostile, type HostileKind, hostileKinds, type HostileProfile } from './profiles/hostile.ts'
export type { HostileScript } from './profiles/hostile-script.ts'
export { sloppy } from './profiles/sloppy.ts'
export { strict } from './profiles/strict.ts'
export { type VboxOptions, vboxModel } from './profiles/vbox.ts'
export { RngModel, type RngModelOptions } from './rng-model.ts'
export { Rules, type SpecClause, type Violation } from './rules.ts'
export { ViolationLog } from './violation-log.ts'
