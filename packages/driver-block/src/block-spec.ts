import type { DeviceConfig, DriverSpec, NegotiatedFeatures, QueueSpec } from '@virtio-ts/core'
import { BlockConfig, BlockFeature, DeviceType } from '@virtio-ts/spec'

/** Every feature bit this driver can use. GEOMETRY is for partition tables of another age; BARRIER and SCSI are legacy's. */
export const blockFeatures: Readonly<Record<BlockDriverFeature, number>> = {
  SIZE_MAX: BlockFeature.SIZE_MAX,
  SEG_MAX: BlockFeature.SEG_MAX,
  RO: BlockFeature.RO,
  BLK_SIZE: BlockFeature.BLK_SIZE,
  FLUSH: BlockFeature.FLUSH,
  TOPOLOGY: BlockFeature.TOPOLOGY,
  CONFIG_WCE: BlockFeature.CONFIG_WCE,
  MQ: BlockFeature.MQ,
  DISCARD: BlockFeature.DISCARD,
  WRITE_ZEROES: BlockFeature.WRITE_ZEROES,
  LIFETIME: BlockFeature.LIFETIME,
  SECURE_ERASE: BlockFeature.SECURE_ERASE,
  ZONED: BlockFeature.ZONED,
}

export type BlockDriverFeature =
  | 'SIZE_MAX'
  | 'SEG_MAX'
  | 'RO'
  | 'BLK_SIZE'
  | 'FLUSH'
  | 'TOPOLOGY'
  | 'CONFIG_WCE'
  | 'MQ'
  | 'DISCARD'
  | 'WRITE_ZEROES'
  | 'LIFETIME'
  | 'SECURE_ERASE'
  | 'ZONED'

/** `requestq1` to `requestqN`. @see VIRTIO 1.3 § 5.2.2 "Virtqueues" */
export type BlockQueue = `requestq${number}`

export type BlockFeatures = NegotiatedFeatures<BlockDriverFeature>

/** One thread serves all queues: more of them only help a device that works on each with a thread of its own. */
export const DEFAULT_QUEUES = 4
/** Blocks above this are not believed: nobody has them, and whole blocks have to fit into memory. */
const LARGEST_BLOCK = 2 * 1024 * 1024

/** Where the last field that comes with a feature ends, in bytes. */
const fieldsEnd: Readonly<Partial<Record<BlockDriverFeature, number>>> = {
  SIZE_MAX: BlockConfig.SEG_MAX,
  SEG_MAX: BlockConfig.SEG_MAX + 4,
  BLK_SIZE: BlockConfig.BLK_SIZE + 4,
  TOPOLOGY: BlockConfig.OPT_IO_SIZE + 4,
  CONFIG_WCE: BlockConfig.WRITEBACK + 1,
  MQ: BlockConfig.NUM_QUEUES + 2,
  DISCARD: BlockConfig.DISCARD_SECTOR_ALIGNMENT + 4,
  WRITE_ZEROES: BlockConfig.WRITE_ZEROES_MAY_UNMAP + 1,
  SECURE_ERASE: BlockConfig.SECURE_ERASE_SECTOR_ALIGNMENT + 4,
  ZONED: BlockConfig.ZONED_MODEL + 1,
}

/** The block device as data. @see VIRTIO 1.3 § 5.2 "Block Device" */
export const blockSpec: DriverSpec<BlockDriverFeature, BlockQueue> = blockSpecFor(false, DEFAULT_QUEUES)

/** The same for one of the two interfaces, with as many queues as the owner wants. */
export function blockSpecFor(legacy: boolean, maxQueues: number): DriverSpec<BlockDriverFeature, BlockQueue> {
  return {
    name: 'block',
    deviceType: DeviceType.BLOCK,
    features: blockFeatures,
    validate: (features, config) => rejectBadConfig(features, config, legacy),
    queues: (features, config) => chooseQueues(features, config, maxQueues),
  }
}

async function chooseQueues(
  features: BlockFeatures,
  config: DeviceConfig,
  maxQueues: number,
): Promise<readonly QueueSpec<BlockQueue>[]> {
  const told = features.has('MQ') ? await config.read16(BlockConfig.NUM_QUEUES) : 1
  const count = Math.max(1, Math.min(told, maxQueues))
  return Array.from({ length: count }, (_, index) => ({ name: queueName(index), index }))
}

export function queueName(index: number): BlockQueue {
  return `requestq${index + 1}`
}

/**
 * Features to do without because what they come with cannot be.
 * @see VIRTIO 1.3 § 5.2.5.1 "Driver Requirements: Device Initialization"
 */
async function rejectBadConfig(
  features: BlockFeatures,
  config: DeviceConfig,
  legacy: boolean,
): Promise<readonly BlockDriverFeature[]> {
  const rejected = new Set<BlockDriverFeature>()
  for (const [feature, end] of Object.entries(fieldsEnd) as [BlockDriverFeature, number][]) {
    if (features.has(feature) && config.length < end) rejected.add(feature)
  }
  const usable = (feature: BlockDriverFeature): boolean => features.has(feature) && !rejected.has(feature)
  const read = (feature: BlockDriverFeature, at: number): Promise<number> | undefined =>
    usable(feature) ? config.read32(at) : undefined
  if (!isBlockSize(await read('BLK_SIZE', BlockConfig.BLK_SIZE))) rejected.add('BLK_SIZE')
  // A limit below a sector leaves nothing that could be sent.
  if (isBelow(BlockConfig.SECTOR, await read('SIZE_MAX', BlockConfig.SIZE_MAX))) rejected.add('SIZE_MAX')
  if (isBelow(1, await read('SEG_MAX', BlockConfig.SEG_MAX))) rejected.add('SEG_MAX')
  if (isBelow(1, await read('SECURE_ERASE', BlockConfig.MAX_SECURE_ERASE_SECTORS))) rejected.add('SECURE_ERASE')
  if (isBelow(1, await read('SECURE_ERASE', BlockConfig.MAX_SECURE_ERASE_SEG))) rejected.add('SECURE_ERASE')
  if (usable('ZONED')) {
    const model = await config.read8(BlockConfig.ZONED_MODEL)
    // FEATURES_OK, without which ZONED cannot be negotiated, is not there on the legacy interface.
    if (legacy || !(await isZoned(model, config))) rejected.add('ZONED')
    // Whoever drives a host-managed device resets zones, and discards nothing.
    else if (model === BlockConfig.Z_HM) rejected.add('DISCARD')
  }
  return [...rejected]
}

function isBelow(least: number, value: number | undefined): boolean {
  return value !== undefined && value < least
}

export function isBlockSize(size: number | undefined): boolean {
  if (size === undefined) return true
  return size >= BlockConfig.SECTOR && size <= LARGEST_BLOCK && Number.isInteger(Math.log2(size))
}

async function isZoned(model: number, config: DeviceConfig): Promise<boolean> {
  if (model === BlockConfig.Z_NONE) return true
  if (model !== BlockConfig.Z_HM && model !== BlockConfig.Z_HA) return false
  const zoneSectors = await config.read32(BlockConfig.ZONE_SECTORS)
  const granularity = await config.read32(BlockConfig.WRITE_GRANULARITY)
  return areZones(zoneSectors, granularity)
}

/** Zones of whole write units, which are whole sectors. */
export function areZones(zoneSectors: number, granularity: number): boolean {
  const unit = granularity / BlockConfig.SECTOR
  return zoneSectors > 0 && unit > 0 && Number.isInteger(unit) && zoneSectors % unit === 0
}
