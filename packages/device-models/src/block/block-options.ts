import { BlockFeature, type BlockFeatureName, featureSet } from '@virtio-ts/spec'
import type { BlockStorage } from './block-storage.ts'

/** Limits of a request that names ranges; in 512-byte sectors, as they stand in the configuration space. */
export interface RangeLimits {
  readonly maxSectors?: number
  readonly maxSegments?: number
  readonly alignment?: number
}

export interface ZonedOptions {
  readonly model: 'host-managed' | 'host-aware' | 'none'
  /** Sectors of a zone; the last one may be smaller. */
  readonly zoneSectors: number
  /** Sectors of a zone that can be written. @defaultValue all of them */
  readonly zoneCapacity?: number
  /** Zones from the first on that are conventional. @defaultValue 0 */
  readonly conventional?: number
  /** 0 for no limit. @defaultValue 0 */
  readonly maxOpen?: number
  /** 0 for no limit. @defaultValue 0 */
  readonly maxActive?: number
  /** Sectors of an append; 0 where there is none. @defaultValue 128 */
  readonly maxAppendSectors?: number
  /** Bytes. @defaultValue 512 */
  readonly writeGranularity?: number
}

export interface BlockModelOptions {
  /** Where the sectors are kept, e.g. in a `FileStore`. @defaultValue in memory */
  readonly storage?: BlockStorage
  /** In 512-byte sectors. @defaultValue 8192 */
  readonly capacity?: number
  readonly readOnly?: boolean
  /** Bytes. @defaultValue 512 */
  readonly blockSize?: number
  /** Up to 20 characters. @defaultValue 'virtio-ts' */
  readonly id?: string
  /** More than 1 offers MQ. @defaultValue 1 */
  readonly queues?: number
  /** @defaultValue 128 */
  readonly queueSize?: number
  /** Bytes of a segment at most. @defaultValue 65536 */
  readonly sizeMax?: number
  /** @defaultValue the queue size less 2 */
  readonly segMax?: number
  readonly topology?: {
    readonly physicalBlockExp: number
    readonly alignmentOffset: number
    readonly minIoSize: number
    readonly optIoSize: number
  }
  /** Whether the cache is a writeback one after a reset. @defaultValue true */
  readonly writeback?: boolean
  readonly discard?: RangeLimits
  readonly writeZeroes?: RangeLimits & { readonly mayUnmap?: boolean }
  /** Offers SECURE_ERASE. */
  readonly secureErase?: RangeLimits
  /** Offers LIFETIME. */
  readonly lifetime?: { readonly preEndOfLife: number; readonly typeA: number; readonly typeB: number }
  /** Offers ZONED. */
  readonly zoned?: ZonedOptions
  /** Features to offer (true) or not (false), different from what the other options make of it. */
  readonly features?: Readonly<Partial<Record<BlockFeatureName, boolean>>>
  /** Order in which requests that came together are answered. @defaultValue 'as-come' */
  readonly order?: 'as-come' | 'reversed'
}

export function offeredBlockFeatures(options: BlockModelOptions): bigint {
  const names = new Set<BlockFeatureName>([
    'SIZE_MAX',
    'SEG_MAX',
    'BLK_SIZE',
    'FLUSH',
    'TOPOLOGY',
    'CONFIG_WCE',
    'WRITE_ZEROES',
  ])
  // VIRTIO 1.3 § 5.2.5.1 "Driver Requirements: Device Initialization": a host-managed device and discards exclude each other.
  if (options.zoned?.model !== 'host-managed') names.add('DISCARD')
  if (options.readOnly) names.add('RO')
  if ((options.queues ?? 1) > 1) names.add('MQ')
  if (options.secureErase) names.add('SECURE_ERASE')
  if (options.lifetime) names.add('LIFETIME')
  if (options.zoned) names.add('ZONED')
  for (const [name, offer] of Object.entries(options.features ?? {}) as [BlockFeatureName, boolean][]) {
    if (offer) names.add(name)
    else names.delete(name)
  }
  return featureSet(...[...names].map((name) => BlockFeature[name]))
}
