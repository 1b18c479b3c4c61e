import type { DeviceConfig } from '@virtio-ts/core'
import { NetConfig, NetHashType } from '@virtio-ts/spec'
import type { NetFeatures } from './net-spec.ts'
import type { HashLimits } from './steering-options.ts'

/** Only where RSS or HASH_REPORT was negotiated are the fields there. */
export async function readHashLimits(config: DeviceConfig, features: NetFeatures): Promise<HashLimits> {
  const rss = features.has('RSS')
  if (!rss && !features.has('HASH_REPORT')) return { keySize: 0, tableLength: 0, hashTypes: 0 }
  return {
    keySize: await config.read8(NetConfig.RSS_MAX_KEY_SIZE),
    tableLength: rss ? await config.read16(NetConfig.RSS_MAX_INDIRECTION_TABLE_LENGTH) : 0,
    hashTypes: (await config.read32(NetConfig.SUPPORTED_HASH_TYPES)) & NetHashType.ALL,
  }
}
