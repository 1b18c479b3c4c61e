import type { DriverSpec } from '@virtio-ts/core'
import {
  BalloonConfig,
  BalloonFeature,
  type BalloonFeatureName,
  type BalloonQueueName,
  balloonQueues,
  DeviceType,
  hasFeature,
} from '@virtio-ts/spec'
import type { BalloonOptions } from './balloon-options.ts'

/** The feature that brings each queue. */
const featureOf: Readonly<Partial<Record<BalloonQueueName, BalloonFeatureName>>> = {
  statsq: 'STATS_VQ',
  free_page_vq: 'FREE_PAGE_HINT',
  reporting_vq: 'PAGE_REPORTING',
}

/** @see VIRTIO 1.3 § 5.5 "Traditional Memory Balloon Device" */
export function balloonSpecFor(
  options: Pick<BalloonOptions, 'poison' | 'queueNumbers'>,
): DriverSpec<BalloonFeatureName, BalloonQueueName> {
  const { poison, queueNumbers = 'dense' } = options
  return {
    name: 'balloon',
    deviceType: DeviceType.BALLOON,
    features: BalloonFeature,
    // VIRTIO 1.3 § 5.5.3.1 "Driver Requirements: Feature bits": who counts on a value in free pages must not report without saying it.
    ...(poison !== undefined && { dependencies: [{ feature: 'PAGE_REPORTING', anyOf: ['PAGE_POISON'] }] }),
    queues: async (features) => {
      // A queue exists when its feature is offered, and counts then, whether it was accepted or not.
      const there = balloonQueues((name) => hasFeature(features.offered, BalloonFeature[name]), queueNumbers)
      return Array.from(there, ([name, index]) => ({ name, index })).filter(({ name }) => {
        const feature = featureOf[name]
        return feature === undefined || features.has(feature)
      })
    },
    prepare: async (features, config) => {
      if (poison === undefined || !features.has('PAGE_POISON')) return
      // VIRTIO 1.3 § 5.5.6.6.1 "Driver Requirements: Page Poison": before DRIVER_OK, and not after.
      await config.write(BalloonConfig.POISON_VAL, littleEndian(poison))
    },
  }
}

/** What `BalloonDriver` is without options. */
export const balloonSpec: DriverSpec<BalloonFeatureName, BalloonQueueName> = balloonSpecFor({})

/** Features of no use to a driver with these options: it has nothing to tell by them. */
export function uselessFeatures({ pages, statistics, poison }: BalloonOptions): BalloonFeatureName[] {
  return [
    ...(statistics ? [] : (['STATS_VQ'] as const)),
    ...(pages.takeFree ? [] : (['FREE_PAGE_HINT', 'PAGE_REPORTING'] as const)),
    // VIRTIO 1.3 § 5.5.3.1 "Driver Requirements: Feature bits": not for a driver that does not write poison_val to deflated pages.
    ...(poison === undefined ? (['PAGE_POISON'] as const) : []),
  ]
}

/** Configuration fields and page numbers are little-endian on the legacy interface too. */
export function littleEndian(value: number): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(4))
  bytes.setUint32(0, value, true)
  return new Uint8Array(bytes.buffer)
}
