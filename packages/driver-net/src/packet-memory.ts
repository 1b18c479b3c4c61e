import type { DmaRegion } from '@virtio-ts/memory'

/** Memory for packets: a region of its own in the thread that allocated it, a part of what it mapped in any other. */
export type PacketMemory = Pick<DmaRegion, 'bytes' | 'deviceAddress' | 'length' | 'file'>
