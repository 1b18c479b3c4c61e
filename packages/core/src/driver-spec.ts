import type { DeviceTypeId, FeatureBit, FeatureDependency } from '@virtio-ts/spec'
import type { DeviceConfig } from './device-config.ts'
import type { NegotiatedFeatures } from './negotiated-features.ts'

/** One virtqueue a driver wants: its name in the specification's words and its index. */
export interface QueueSpec<Queue extends string = string> {
  readonly name: Queue
  readonly index: number
  /** Descriptors wanted at most; the device's largest when left out. */
  readonly size?: number
}

/**
 * A driver as data: what it drives, what it can use, what it cannot do without, which queues it has.
 * `initialize()` does the rest.
 */
export interface DriverSpec<Feature extends string = string, Queue extends string = string> {
  /** For people and error messages: `net`, `rng`. */
  readonly name: string
  readonly deviceType: DeviceTypeId
  /** Device feature bits the driver can use, by the name the command line uses; anything not listed is never accepted. */
  readonly features: Readonly<Record<Feature, FeatureBit>>
  /** Among `features`: those the driver cannot work without. */
  readonly required?: readonly Feature[]
  /** Bits that need others; a bit whose needs are not met is dropped before the device sees it. */
  readonly dependencies?: readonly FeatureDependency<Feature>[]
  /**
   * Looks at configuration fields before FEATURES_OK and names features to drop because of them (an MTU below 68, say).
   * What it accepted is checked again by the driver afterwards, as the device may have changed it.
   */
  readonly validate?: (features: NegotiatedFeatures<Feature>, config: DeviceConfig) => Promise<readonly Feature[]>
  /** The queues to set up, fixed or computed from what was negotiated. */
  readonly queues:
    | readonly Queue[]
    | ((features: NegotiatedFeatures<Feature>, config: DeviceConfig) => Promise<readonly QueueSpec<Queue>[]>)
  /**
   * Last before DRIVER_OK, after FEATURES_OK: writes the configuration fields that the device wants to know before it is live. What it
   * throws ends the initialisation.
   */
  readonly prepare?: (features: NegotiatedFeatures<Feature>, config: DeviceConfig) => Promise<void>
}
