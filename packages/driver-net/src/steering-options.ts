import { NetHashType, NetRss } from '@virtio-ts/spec'

/** What the device says it can do. @see VIRTIO 1.3 § 5.1.4 "Device configuration layout" */
export interface HashLimits {
  /** Longest key, in bytes. */
  readonly keySize: number
  /** Most entries of an indirection table; 0 without RSS. */
  readonly tableLength: number
  /** Bits of `NetHashType`. */
  readonly hashTypes: number
}

/** How hashes of received packets are calculated. */
export interface HashConfig {
  /** Bits of `NetHashType`. @defaultValue all the device supports */
  readonly hashTypes?: number
  /** Up to as many bytes as the device takes. @defaultValue the well-known key of 40 bytes */
  readonly key?: Uint8Array
}

/** How received packets are spread over queue pairs. */
export interface RssConfig extends HashConfig {
  /** Queue pairs by hash, a power of two of entries. @defaultValue all pairs in use, one after the other */
  readonly table?: readonly number[]
  /** The pair for packets without a hash. @defaultValue 0 */
  readonly unclassified?: number
}

export type HashSetting = Required<HashConfig>
export type RssSetting = Required<RssConfig>

/** The key of the published verification suite, which devices and drivers commonly start with. */
export const DEFAULT_HASH_KEY: Uint8Array = Uint8Array.of(
  ...[
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b,
    0xcb,
  ],
  ...[
    0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01,
    0xfa,
  ],
)

/**
 * @throws RangeError for types the device does not support, or a key it does not take
 * @see VIRTIO 1.3 § 5.1.6.5.7.2 "Driver Requirements: Setting RSS parameters"
 */
export function completeHash(config: HashConfig, limits: HashLimits): HashSetting {
  const { hashTypes = limits.hashTypes, key = DEFAULT_HASH_KEY } = config
  if (!Number.isInteger(hashTypes) || (hashTypes & limits.hashTypes) !== hashTypes || hashTypes < 0) {
    throw new RangeError(
      `hash types 0x${hashTypes.toString(16)}: the device supports 0x${(limits.hashTypes & NetHashType.ALL).toString(16)}`,
    )
  }
  if (key.length < NetRss.KEY_SIZE_MIN || key.length > limits.keySize)
    throw new RangeError(`a hash key of ${key.length} bytes: it has ${NetRss.KEY_SIZE_MIN} to ${limits.keySize}`)
  return { hashTypes, key: key.slice() }
}

/**
 * @param pairs in use
 * @throws RangeError also for a table that is too long, no power of two long, or names a pair that is not in use
 */
export function completeRss(config: RssConfig, limits: HashLimits, pairs: number): RssSetting {
  const { table = spread(pairs, limits.tableLength), unclassified = 0 } = config
  if (!Number.isInteger(Math.log2(table.length)) || table.length > limits.tableLength) {
    throw new RangeError(
      `an indirection table of ${table.length} entries: it has a power of two, and ${limits.tableLength} at most`,
    )
  }
  for (const pair of [...table, unclassified]) {
    if (!(Number.isInteger(pair) && pair >= 0 && pair < pairs))
      throw new RangeError(`the indirection table names pair ${pair}, of ${pairs} in use`)
  }
  return { ...completeHash(config, limits), table: [...table], unclassified }
}

function spread(pairs: number, most: number): readonly number[] {
  // No longer than every device has to take: a hash has few bits to choose a pair by in any case.
  const length = 2 ** Math.floor(Math.log2(Math.min(most, NetRss.TABLE_LENGTH_MIN)))
  return Array.from({ length }, (_, i) => i % pairs)
}
