import { BlockConfig as At, BlockFeature as F } from '@virtio-ts/spec'
import type { ConfigField } from '../device-model.ts'
import type { BlockModelOptions } from './block-options.ts'

const field = (name: string, offset: number, width: 1 | 2 | 4, feature?: number, count = 1): ConfigField => ({
  name,
  offset,
  width,
  count,
  ...(feature !== undefined && { features: [feature] }),
})

/** struct virtio_blk_config. @see VIRTIO 1.3 § 5.2.4 "Device configuration layout" */
export const blockConfigFields: readonly ConfigField[] = [
  // Two accesses of 32 bits: fields of 64 bits are read so.
  field('capacity', At.CAPACITY, 4, undefined, 2),
  field('size_max', At.SIZE_MAX, 4, F.SIZE_MAX),
  field('seg_max', At.SEG_MAX, 4, F.SEG_MAX),
  field('cylinders', At.CYLINDERS, 2, F.GEOMETRY),
  field('heads', At.HEADS, 1, F.GEOMETRY),
  field('sectors', At.SECTORS, 1, F.GEOMETRY),
  field('blk_size', At.BLK_SIZE, 4, F.BLK_SIZE),
  field('physical_block_exp', At.PHYSICAL_BLOCK_EXP, 1, F.TOPOLOGY),
  field('alignment_offset', At.ALIGNMENT_OFFSET, 1, F.TOPOLOGY),
  field('min_io_size', At.MIN_IO_SIZE, 2, F.TOPOLOGY),
  field('opt_io_size', At.OPT_IO_SIZE, 4, F.TOPOLOGY),
  field('writeback', At.WRITEBACK, 1, F.CONFIG_WCE),
  field('num_queues', At.NUM_QUEUES, 2, F.MQ),
  field('max_discard_sectors', At.MAX_DISCARD_SECTORS, 4, F.DISCARD),
  field('max_discard_seg', At.MAX_DISCARD_SEG, 4, F.DISCARD),
  field('discard_sector_alignment', At.DISCARD_SECTOR_ALIGNMENT, 4, F.DISCARD),
  field('max_write_zeroes_sectors', At.MAX_WRITE_ZEROES_SECTORS, 4, F.WRITE_ZEROES),
  field('max_write_zeroes_seg', At.MAX_WRITE_ZEROES_SEG, 4, F.WRITE_ZEROES),
  field('write_zeroes_may_unmap', At.WRITE_ZEROES_MAY_UNMAP, 1, F.WRITE_ZEROES),
  field('max_secure_erase_sectors', At.MAX_SECURE_ERASE_SECTORS, 4, F.SECURE_ERASE),
  field('max_secure_erase_seg', At.MAX_SECURE_ERASE_SEG, 4, F.SECURE_ERASE),
  field('secure_erase_sector_alignment', At.SECURE_ERASE_SECTOR_ALIGNMENT, 4, F.SECURE_ERASE),
  field('zone_sectors', At.ZONE_SECTORS, 4, F.ZONED),
  field('max_open_zones', At.MAX_OPEN_ZONES, 4, F.ZONED),
  field('max_active_zones', At.MAX_ACTIVE_ZONES, 4, F.ZONED),
  field('max_append_sectors', At.MAX_APPEND_SECTORS, 4, F.ZONED),
  field('write_granularity', At.WRITE_GRANULARITY, 4, F.ZONED),
  field('model', At.ZONED_MODEL, 1, F.ZONED),
]

const MANY = 0xffff

/** The whole structure, filled in; fields whose feature is not offered are filled in as well, for drivers that look all the same. */
export function blockConfigBytes(options: BlockModelOptions, capacity: number): Uint8Array {
  const bytes = new Uint8Array(At.LENGTH)
  const view = new DataView(bytes.buffer)
  const { topology, discard = {}, writeZeroes = {}, secureErase = {}, zoned } = options
  const set32 = (at: number, value: number): void => view.setUint32(at, value, true)
  view.setBigUint64(At.CAPACITY, BigInt(capacity), true)
  set32(At.SIZE_MAX, options.sizeMax ?? 65536)
  set32(At.SEG_MAX, options.segMax ?? (options.queueSize ?? 128) - 2)
  set32(At.BLK_SIZE, options.blockSize ?? 512)
  view.setUint8(At.PHYSICAL_BLOCK_EXP, topology?.physicalBlockExp ?? 0)
  view.setUint8(At.ALIGNMENT_OFFSET, topology?.alignmentOffset ?? 0)
  view.setUint16(At.MIN_IO_SIZE, topology?.minIoSize ?? 1, true)
  set32(At.OPT_IO_SIZE, topology?.optIoSize ?? 0)
  view.setUint8(At.WRITEBACK, options.writeback === false ? 0 : 1)
  view.setUint16(At.NUM_QUEUES, options.queues ?? 1, true)
  set32(At.MAX_DISCARD_SECTORS, discard.maxSectors ?? MANY)
  set32(At.MAX_DISCARD_SEG, discard.maxSegments ?? 1)
  set32(At.DISCARD_SECTOR_ALIGNMENT, discard.alignment ?? 1)
  set32(At.MAX_WRITE_ZEROES_SECTORS, writeZeroes.maxSectors ?? MANY)
  set32(At.MAX_WRITE_ZEROES_SEG, writeZeroes.maxSegments ?? 1)
  view.setUint8(At.WRITE_ZEROES_MAY_UNMAP, writeZeroes.mayUnmap === false ? 0 : 1)
  set32(At.MAX_SECURE_ERASE_SECTORS, secureErase.maxSectors ?? MANY)
  set32(At.MAX_SECURE_ERASE_SEG, secureErase.maxSegments ?? 1)
  set32(At.SECURE_ERASE_SECTOR_ALIGNMENT, secureErase.alignment ?? 1)
  if (!zoned) return bytes
  set32(At.ZONE_SECTORS, zoned.zoneSectors)
  set32(At.MAX_OPEN_ZONES, zoned.maxOpen ?? 0)
  set32(At.MAX_ACTIVE_ZONES, zoned.maxActive ?? 0)
  set32(At.MAX_APPEND_SECTORS, zoned.maxAppendSectors ?? 128)
  set32(At.WRITE_GRANULARITY, zoned.writeGranularity ?? 512)
  view.setUint8(At.ZONED_MODEL, { none: At.Z_NONE, 'host-managed': At.Z_HM, 'host-aware': At.Z_HA }[zoned.model])
  return bytes
}
