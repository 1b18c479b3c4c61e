import { type FeatureBit, hasFeature } from '@virtio-ts/spec'
import type { DeviceModel } from './device-model.ts'

/** VIRTIO 1.3 § 2.2.1 "Driver Requirements: Feature Bits": a feature that needs another comes with it. */
export function brokenDependencies(model: DeviceModel, features: bigint): string[] {
  const has = (name: string): boolean => {
    const bit: FeatureBit | undefined = model.featureBits[name]
    return bit !== undefined && hasFeature(features, bit)
  }
  return model.featureDependencies
    .filter(({ feature, anyOf }) => has(feature) && !anyOf.some(has))
    .map(({ feature, anyOf }) => `accepted ${feature} without ${anyOf.join(' or ')}`)
}
