import type { DeviceConfig } from '@virtio-ts/core'
import { BlockConfig, VirtioError } from '@virtio-ts/spec'
import { areZones, type BlockFeatures, isBlockSize } from './block-spec.ts'

const { SECTOR } = BlockConfig
/** Offsets are numbers: what lies beyond cannot be named. */
const MOST_SECTORS = Math.floor(Number.MAX_SAFE_INTEGER / SECTOR)
const ANY = 0xffffffff

/** What one request that names ranges may name; in 512-byte sectors. */
export interface RangeLimits {
  readonly maxSectors: number
  readonly maxSegments: number
  /** Where longer ranges are best cut. */
  readonly alignment: number
}

/** In bytes. */
export interface BlockTopology {
  readonly physicalBlockSize: number
  readonly alignmentOffset: number
  readonly minIoSize: number
  readonly optIoSize: number
}

/** Zones of a zoned device; bytes, and numbers of zones. */
export interface ZonedLimits {
  readonly model: 'host-managed' | 'host-aware'
  readonly zoneSize: number
  /** 0: no limit. */
  readonly maxOpenZones: number
  /** 0: no limit. */
  readonly maxActiveZones: number
  /** Longest append; 0 where the device knows none. */
  readonly maxAppend: number
  /** What writes and appends are multiples of. */
  readonly writeGranularity: number
}

/** What the device states of itself, once for the time it is open. */
export interface BlockLimits {
  readonly blockSize: number
  /** Bytes of one segment. */
  readonly sizeMax: number
  /** Segments of one request. */
  readonly segMax: number
  readonly topology: BlockTopology | undefined
  readonly discard: RangeLimits | undefined
  readonly writeZeroes: RangeLimits | undefined
  readonly secureErase: RangeLimits | undefined
  readonly zoned: ZonedLimits | undefined
}

/** Bytes, of whole sectors; one beyond 2^53 is cut. */
export async function readCapacity(config: DeviceConfig): Promise<number> {
  const sectors = await config.read64(BlockConfig.CAPACITY)
  return (sectors > BigInt(MOST_SECTORS) ? MOST_SECTORS : Number(sectors)) * SECTOR
}

/**
 * Reads what was validated before, and looks again.
 * @throws VirtioError `block.config-invalid` when the device has changed its mind meanwhile
 * @see VIRTIO 1.3 § 5.2.4 "Device configuration layout"
 */
export async function readLimits(features: BlockFeatures, config: DeviceConfig, device: string): Promise<BlockLimits> {
  const blockSize = features.has('BLK_SIZE') ? await config.read32(BlockConfig.BLK_SIZE) : SECTOR
  const sizeMax = features.has('SIZE_MAX') ? await config.read32(BlockConfig.SIZE_MAX) : ANY
  // Without the feature nothing is known: one segment is what every device takes.
  const segMax = features.has('SEG_MAX') ? await config.read32(BlockConfig.SEG_MAX) : 1
  const discard = features.has('DISCARD') ? await readRange(config, BlockConfig.MAX_DISCARD_SECTORS, true) : undefined
  const writeZeroes = features.has('WRITE_ZEROES')
    ? await readRange(config, BlockConfig.MAX_WRITE_ZEROES_SECTORS, false)
    : undefined
  const secureErase = features.has('SECURE_ERASE')
    ? await readRange(config, BlockConfig.MAX_SECURE_ERASE_SECTORS, true)
    : undefined
  const zoned = features.has('ZONED') ? await readZoned(config, device) : undefined
  if (!isBlockSize(blockSize)) throw invalid(device, 'blk_size', blockSize)
  if (sizeMax < SECTOR) throw invalid(device, 'size_max', sizeMax)
  if (segMax < 1) throw invalid(device, 'seg_max', segMax)
  const topology = features.has('TOPOLOGY') ? await readTopology(config, blockSize) : undefined
  return { blockSize, sizeMax, segMax, topology, discard, writeZeroes, secureErase, zoned }
}

/** Some devices state 0 where they mean that there is no limit. */
async function readRange(config: DeviceConfig, at: number, aligned: boolean): Promise<RangeLimits> {
  return {
    maxSectors: (await config.read32(at)) || ANY,
    maxSegments: (await config.read32(at + 4)) || 1,
    alignment: (aligned && (await config.read32(at + 8))) || 1,
  }
}

async function readTopology(config: DeviceConfig, blockSize: number): Promise<BlockTopology> {
  // More than 2^31 blocks in one is nobody's disk, and no number to shift by.
  const exponent = Math.min(31, await config.read8(BlockConfig.PHYSICAL_BLOCK_EXP))
  return {
    physicalBlockSize: blockSize * 2 ** exponent,
    alignmentOffset: blockSize * (await config.read8(BlockConfig.ALIGNMENT_OFFSET)),
    minIoSize: blockSize * (await config.read16(BlockConfig.MIN_IO_SIZE)),
    optIoSize: blockSize * (await config.read32(BlockConfig.OPT_IO_SIZE)),
  }
}

async function readZoned(config: DeviceConfig, device: string): Promise<ZonedLimits | undefined> {
  const model = await config.read8(BlockConfig.ZONED_MODEL)
  // A drive-managed device is a regular one.
  if (model === BlockConfig.Z_NONE) return undefined
  const zoneSectors = await config.read32(BlockConfig.ZONE_SECTORS)
  const writeGranularity = await config.read32(BlockConfig.WRITE_GRANULARITY)
  if (model > BlockConfig.Z_HA) throw invalid(device, 'model', model)
  if (!areZones(zoneSectors, writeGranularity)) throw invalid(device, 'zone_sectors', zoneSectors)
  return {
    model: model === BlockConfig.Z_HM ? 'host-managed' : 'host-aware',
    zoneSize: zoneSectors * SECTOR,
    maxOpenZones: await config.read32(BlockConfig.MAX_OPEN_ZONES),
    maxActiveZones: await config.read32(BlockConfig.MAX_ACTIVE_ZONES),
    maxAppend: (await config.read32(BlockConfig.MAX_APPEND_SECTORS)) * SECTOR,
    writeGranularity,
  }
}

function invalid(device: string, field: string, value: number): VirtioError {
  return new VirtioError(
    'block.config-invalid',
    `${device} says ${field} is ${value} in its configuration space, which cannot be, and said otherwise before`,
    { device, detail: { field, value } },
  )
}
