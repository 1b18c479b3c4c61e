/**
 * The virtio specification as data: feature bits, device IDs, register and ring layouts, dependency tables.
 * Nothing here does input or output, and nothing here knows a bus or a ring implementation.
 * @packageDocumentation
 */
export { BlockConfig, BlockFeature, type BlockFeatureName, BlockRequest, BlockSegment, BlockZone } from './block.ts'
export {
  BALLOON_PAGE,
  BalloonConfig,
  BalloonFeature,
  type BalloonFeatureName,
  BalloonHint,
  type BalloonQueueName,
  balloonQueues,
  BalloonStat,
} from './balloon.ts'
export {
  ConsoleConfig,
  ConsoleControl,
  ConsoleFeature,
  type ConsoleFeatureName,
  consolePortQueues,
  ConsoleQueue,
} from './console.ts'
export { DeviceType, deviceTypeName, type DeviceTypeId } from './device-type.ts'
export {
  closeFeatures,
  type FeatureBit,
  type FeatureDependency,
  featureNames,
  featureSet,
  hasFeature,
  ReservedFeature,
  type ReservedFeatureName,
} from './features.ts'
export {
  NetConfig,
  NetControl,
  NetFeature,
  type NetFeatureName,
  NetHashReport,
  NetHashType,
  NetHeader,
  netFeatureDependencies,
  NetRss,
} from './net.ts'
export { PackedRing, packedRingLayout } from './packed-ring.ts'
export { CommonConfig, LegacyConfig, PciCapabilityType, VirtioPci } from './pci.ts'
export type { QueueLayout } from './queue-layout.ts'
export { SplitRing, splitRingLayout } from './split-ring.ts'
export { DeviceStatus } from './status.ts'
export { isVirtioError, VirtioError, type VirtioErrorDetails } from './virtio-error.ts'
export {
  VhostUser,
  VhostUserBackEndRequest,
  VhostUserProtocolFeature,
  type VhostUserProtocolFeatureName,
  VhostUserRequest,
  type VhostUserRequestName,
} from './vhost-user.ts'
