/** Feature bits of the block device. @see VIRTIO 1.3 § 5.2.3 "Feature bits" */
export const BlockFeature = {
  BARRIER: 0,
  SIZE_MAX: 1,
  SEG_MAX: 2,
  GEOMETRY: 4,
  RO: 5,
  BLK_SIZE: 6,
  SCSI: 7,
  FLUSH: 9,
  TOPOLOGY: 10,
  CONFIG_WCE: 11,
  MQ: 12,
  DISCARD: 13,
  WRITE_ZEROES: 14,
  LIFETIME: 15,
  SECURE_ERASE: 16,
  ZONED: 17,
} as const

export type BlockFeatureName = keyof typeof BlockFeature

/** struct virtio_blk_config: offsets in bytes. @see VIRTIO 1.3 § 5.2.4 "Device configuration layout" */
export const BlockConfig = {
  CAPACITY: 0,
  SIZE_MAX: 8,
  SEG_MAX: 12,
  CYLINDERS: 16,
  HEADS: 18,
  SECTORS: 19,
  BLK_SIZE: 20,
  PHYSICAL_BLOCK_EXP: 24,
  ALIGNMENT_OFFSET: 25,
  MIN_IO_SIZE: 26,
  OPT_IO_SIZE: 28,
  WRITEBACK: 32,
  NUM_QUEUES: 34,
  MAX_DISCARD_SECTORS: 36,
  MAX_DISCARD_SEG: 40,
  DISCARD_SECTOR_ALIGNMENT: 44,
  MAX_WRITE_ZEROES_SECTORS: 48,
  MAX_WRITE_ZEROES_SEG: 52,
  WRITE_ZEROES_MAY_UNMAP: 56,
  MAX_SECURE_ERASE_SECTORS: 60,
  MAX_SECURE_ERASE_SEG: 64,
  SECURE_ERASE_SECTOR_ALIGNMENT: 68,
  ZONE_SECTORS: 72,
  MAX_OPEN_ZONES: 76,
  MAX_ACTIVE_ZONES: 80,
  MAX_APPEND_SECTORS: 84,
  WRITE_GRANULARITY: 88,
  ZONED_MODEL: 92,
  LENGTH: 96,
  /** Bytes of the unit that everything on the wire is counted in, whatever the block size. */
  SECTOR: 512,
  Z_NONE: 0,
  Z_HM: 1,
  Z_HA: 2,
} as const

/** struct virtio_blk_req and what goes with it: offsets in bytes. @see VIRTIO 1.3 § 5.2.6 "Device Operation" */
export const BlockRequest = {
  TYPE: 0,
  RESERVED: 4,
  SECTOR: 8,
  HEADER_LENGTH: 16,
  ID_LENGTH: 20,
  LIFETIME_LENGTH: 6,
  APPEND_SECTOR_LENGTH: 8,
  T_IN: 0,
  T_OUT: 1,
  T_FLUSH: 4,
  T_GET_ID: 8,
  T_GET_LIFETIME: 10,
  T_DISCARD: 11,
  T_WRITE_ZEROES: 13,
  T_SECURE_ERASE: 14,
  T_ZONE_APPEND: 15,
  T_ZONE_REPORT: 16,
  T_ZONE_OPEN: 18,
  T_ZONE_CLOSE: 20,
  T_ZONE_FINISH: 22,
  T_ZONE_RESET: 24,
  T_ZONE_RESET_ALL: 26,
  S_OK: 0,
  S_IOERR: 1,
  S_UNSUPP: 2,
  S_ZONE_INVALID_CMD: 3,
  S_ZONE_UNALIGNED_WP: 4,
  S_ZONE_OPEN_RESOURCE: 5,
  S_ZONE_ACTIVE_RESOURCE: 6,
} as const

/** struct virtio_blk_discard_write_zeroes: offsets in bytes. @see VIRTIO 1.3 § 5.2.6 "Device Operation" */
export const BlockSegment = {
  SECTOR: 0,
  NUM_SECTORS: 8,
  FLAGS: 12,
  LENGTH: 16,
  F_UNMAP: 1,
} as const

/**
 * struct virtio_blk_zone_report and virtio_blk_zone_descriptor: offsets in bytes, types and states.
 * @see VIRTIO 1.3 § 5.2.6 "Device Operation"
 */
export const BlockZone = {
  REPORT_HEADER_LENGTH: 64,
  CAPACITY: 0,
  START: 8,
  WRITE_POINTER: 16,
  TYPE: 24,
  STATE: 25,
  DESCRIPTOR_LENGTH: 64,
  ZT_CONV: 1,
  ZT_SWR: 2,
  ZT_SWP: 3,
  ZS_NOT_WP: 0,
  ZS_EMPTY: 1,
  ZS_IOPEN: 2,
  ZS_EOPEN: 3,
  ZS_CLOSED: 4,
  ZS_RDONLY: 13,
  ZS_FULL: 14,
  ZS_OFFLINE: 15,
} as const
