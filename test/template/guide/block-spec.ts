import type { DriverSpec } from '@virtio-ts/core'
import { DeviceType } from '@virtio-ts/spec'

/** struct virtio_blk_config: offsets in bytes. @see VIRTIO 1.3 § 5.2.4 "Device configuration layout" */
export const BlockConfig = { CAPACITY: 0, BLK_SIZE: 20, NUM_QUEUES: 34 } as const

const MOST_QUEUES = 4

export const blockSpec: DriverSpec<'BLK_SIZE' | 'MQ', `requestq${number}`> = {
  name: 'block',
  deviceType: DeviceType.BLOCK,
  features: { BLK_SIZE: 6, MQ: 12 },
  validate: async (features, config) => {
    if (!features.has('BLK_SIZE')) return []
    const size = await config.read32(BlockConfig.BLK_SIZE)
    return size >= 512 && Number.isInteger(Math.log2(size)) ? [] : ['BLK_SIZE']
  },
  queues: async (features, config) => {
    const told = features.has('MQ') ? await config.read16(BlockConfig.NUM_QUEUES) : 1
    const count = Math.max(1, Math.min(told, MOST_QUEUES))
    return Array.from({ length: count }, (_, index) => ({ name: `requestq${index + 1}` as const, index }))
  },
}
