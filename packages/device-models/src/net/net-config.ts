import { hasFeature, NetConfig, NetFeature } from '@virtio-ts/spec'
import type { ConfigField } from '../device-model.ts'

const hashFeatures: readonly number[] = [NetFeature.RSS, NetFeature.HASH_REPORT]

/** struct virtio_net_config, as far as this device has it. @see VIRTIO 1.3 § 5.1.4 "Device configuration layout" */
export const netConfigFields: readonly ConfigField[] = [
  { name: 'mac', offset: NetConfig.MAC, width: 1, count: 6, features: [NetFeature.MAC] },
  { name: 'status', offset: NetConfig.STATUS, width: 2, features: [NetFeature.STATUS] },
  {
    name: 'max_virtqueue_pairs',
    offset: NetConfig.MAX_VIRTQUEUE_PAIRS,
    width: 2,
    features: [NetFeature.MQ, NetFeature.RSS],
  },
  { name: 'mtu', offset: NetConfig.MTU, width: 2, features: [NetFeature.MTU] },
  { name: 'speed', offset: NetConfig.SPEED, width: 4, features: [NetFeature.SPEED_DUPLEX] },
  { name: 'duplex', offset: NetConfig.DUPLEX, width: 1, features: [NetFeature.SPEED_DUPLEX] },
  { name: 'rss_max_key_size', offset: NetConfig.RSS_MAX_KEY_SIZE, width: 1, features: hashFeatures },
  {
    name: 'rss_max_indirection_table_length',
    offset: NetConfig.RSS_MAX_INDIRECTION_TABLE_LENGTH,
    width: 2,
    features: [NetFeature.RSS],
  },
  { name: 'supported_hash_types', offset: NetConfig.SUPPORTED_HASH_TYPES, width: 4, features: hashFeatures },
]

/** The configuration bytes of a network device: they end behind the last field it has. */
export class NetConfigBytes {
  readonly bytes: Uint8Array
  readonly #view: DataView

  constructor(features: bigint) {
    const has = (field: ConfigField): boolean => (field.features ?? []).some((bit) => hasFeature(features, bit))
    // The mac is always there, even where it says nothing.
    const ends = netConfigFields
      .filter((field) => field.offset === NetConfig.MAC || has(field))
      .map((field) => field.offset + field.width * (field.count ?? 1))
    this.bytes = new Uint8Array(Math.max(...ends))
    this.#view = new DataView(this.bytes.buffer)
  }

  get mac(): Uint8Array {
    return this.bytes.slice(NetConfig.MAC, NetConfig.MAC + 6)
  }

  setMac(mac: Uint8Array): void {
    this.bytes.set(mac, NetConfig.MAC)
  }

  get status(): number {
    return this.#read16(NetConfig.STATUS)
  }

  set status(status: number) {
    this.#write16(NetConfig.STATUS, status)
  }

  get mtu(): number {
    return this.#read16(NetConfig.MTU)
  }

  set mtu(mtu: number) {
    this.#write16(NetConfig.MTU, mtu)
  }

  setSpeed(speed: number, duplex: number): void {
    if (this.bytes.length <= NetConfig.DUPLEX) return
    this.#view.setUint32(NetConfig.SPEED, speed, true)
    this.#view.setUint8(NetConfig.DUPLEX, duplex)
  }

  set maxPairs(pairs: number) {
    this.#write16(NetConfig.MAX_VIRTQUEUE_PAIRS, pairs)
  }

  get rssMaxKeySize(): number {
    return this.bytes[NetConfig.RSS_MAX_KEY_SIZE] ?? 0
  }

  get rssMaxTableLength(): number {
    return this.#read16(NetConfig.RSS_MAX_INDIRECTION_TABLE_LENGTH)
  }

  get supportedHashTypes(): number {
    const at = NetConfig.SUPPORTED_HASH_TYPES
    return at + 4 <= this.bytes.length ? this.#view.getUint32(at, true) : 0
  }

  setHashLimits(keySize: number, tableLength: number, types: number): void {
    if (this.bytes.length < NetConfig.SUPPORTED_HASH_TYPES + 4) return
    this.bytes[NetConfig.RSS_MAX_KEY_SIZE] = keySize
    this.#write16(NetConfig.RSS_MAX_INDIRECTION_TABLE_LENGTH, tableLength)
    this.#view.setUint32(NetConfig.SUPPORTED_HASH_TYPES, types, true)
  }

  #read16(offset: number): number {
    return offset + 2 <= this.bytes.length ? this.#view.getUint16(offset, true) : 0
  }

  #write16(offset: number, value: number): void {
    if (offset + 2 <= this.bytes.length) this.#view.setUint16(offset, value, true)
  }
}
