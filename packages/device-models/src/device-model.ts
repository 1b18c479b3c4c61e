import type { DeviceTypeId, FeatureBit, FeatureDependency } from '@virtio-ts/spec'
import type { DeviceMoments, DevicePoint, DeviceProfile } from './device-profile.ts'
import type { DeviceRing } from './device-ring.ts'
import type { SpecClause } from './rules.ts'

/** A field of a device's configuration space, in bytes; with `count` a row of them. */
export interface ConfigField {
  readonly name: string
  readonly offset: number
  readonly width: 1 | 2 | 4
  readonly count?: number
  /** The field exists only if the device offers one of these. */
  readonly features?: readonly FeatureBit[]
  /** May be written before FEATURES_OK, and before anything else. */
  readonly early?: boolean
}

/** What a model sees of the transport that carries it. */
export interface DeviceHost {
  /** Feature bits the driver accepted; 0 before it did. */
  readonly features: bigint
  /** Whether the device may use its queues and interrupt the driver now. */
  readonly live: boolean
  /** Whether the driver has said DRIVER_OK since the last reset. */
  readonly driverOk: boolean
  readonly profile: DeviceProfile
  /** The queue's ring, or undefined when the driver did not set it up or the device may not use it now. */
  ring(queue: number): DeviceRing | undefined
  /**
   * The model has changed its `config` bytes.
   * @param notify whether the driver is told by a configuration change notification
   */
  configChanged(notify: boolean): void
  /** Sets DEVICE_NEEDS_RESET and tells the driver. */
  needsReset(reason: string): void
  violation(rule: SpecClause, text: string): void
  /** Shows a moment to the profile. */
  show<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point]): void
}

/**
 * A virtio device without a bus: data and reactions. A transport (`modelFunction` for PCI) carries it, owns the status, the features
 * and the queues, and calls the reactions.
 */
export interface DeviceModel {
  /** The specification's word for the device, e.g. `net`. */
  readonly name: string
  readonly deviceType: DeviceTypeId
  /** Device-specific feature bits it offers; those of ring and transport are the transport's. */
  readonly features: bigint
  readonly featureBits: Readonly<Record<string, FeatureBit>>
  readonly featureDependencies: readonly FeatureDependency[]
  /** Largest size of each queue, by index. */
  readonly queueSizes: readonly number[]
  /** The device configuration space as it is now; empty when the device has none. */
  readonly config: Uint8Array
  readonly configFields: readonly ConfigField[]
  /** PCI class code: class, subclass, interface. */
  readonly classCode: number
  /** Whether the device can do with these features; with false FEATURES_OK does not stand. */
  takesFeatures?(accepted: bigint): boolean
  /** Called by the transport that takes the model on. */
  attach(host: DeviceHost): void
  /** The driver may have made buffers available. */
  onNotify(queue: number): void
  /** The driver has said DRIVER_OK. */
  onDriverOk?(): void
  /** The device is reset: every state the driver set up is gone, and so are the queues. */
  onReset(): void
  /**
   * The driver writes to the configuration space. @param legacy by the legacy interface, where more is writable
   * @returns whether the device took it, by changing `config` accordingly
   */
  onConfigWrite?(offset: number, bytes: Uint8Array, legacy: boolean): boolean
  /**
   * The front-end of a vhost-user back-end tells the MTU of the network behind, before the driver reads it.
   * @returns whether the device can do with it
   */
  onMtu?(mtu: number): boolean
}
