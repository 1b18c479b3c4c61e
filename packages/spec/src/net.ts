import type { FeatureDependency } from './features.ts'

/** Feature bits of the network device. @see VIRTIO 1.3 § 5.1.3 "Feature bits" */
export const NetFeature = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GSO: 6,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  HOST_UFO: 14,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
  HASH_TUNNEL: 51,
  VQ_NOTF_COAL: 52,
  NOTF_COAL: 53,
  GUEST_USO4: 54,
  GUEST_USO6: 55,
  HOST_USO: 56,
  HASH_REPORT: 57,
  GUEST_HDRLEN: 59,
  RSS: 60,
  RSC_EXT: 61,
  STANDBY: 62,
  SPEED_DUPLEX: 63,
} as const

export type NetFeatureName = keyof typeof NetFeature

/** @see VIRTIO 1.3 § 5.1.3.1 "Feature bit requirements" */
export const netFeatureDependencies: readonly FeatureDependency<NetFeatureName>[] = [
  { feature: 'GUEST_TSO4', anyOf: ['GUEST_CSUM'] },
  { feature: 'GUEST_TSO6', anyOf: ['GUEST_CSUM'] },
  { feature: 'GUEST_ECN', anyOf: ['GUEST_TSO4', 'GUEST_TSO6'] },
  { feature: 'GUEST_UFO', anyOf: ['GUEST_CSUM'] },
  { feature: 'GUEST_USO4', anyOf: ['GUEST_CSUM'] },
  { feature: 'GUEST_USO6', anyOf: ['GUEST_CSUM'] },
  { feature: 'HOST_TSO4', anyOf: ['CSUM'] },
  { feature: 'HOST_TSO6', anyOf: ['CSUM'] },
  { feature: 'HOST_ECN', anyOf: ['HOST_TSO4', 'HOST_TSO6'] },
  { feature: 'HOST_UFO', anyOf: ['CSUM'] },
  { feature: 'HOST_USO', anyOf: ['CSUM'] },
  { feature: 'CTRL_RX', anyOf: ['CTRL_VQ'] },
  { feature: 'CTRL_RX_EXTRA', anyOf: ['CTRL_VQ'] },
  { feature: 'CTRL_VLAN', anyOf: ['CTRL_VQ'] },
  { feature: 'GUEST_ANNOUNCE', anyOf: ['CTRL_VQ'] },
  { feature: 'MQ', anyOf: ['CTRL_VQ'] },
  { feature: 'CTRL_MAC_ADDR', anyOf: ['CTRL_VQ'] },
  { feature: 'CTRL_GUEST_OFFLOADS', anyOf: ['CTRL_VQ'] },
  { feature: 'NOTF_COAL', anyOf: ['CTRL_VQ'] },
  { feature: 'VQ_NOTF_COAL', anyOf: ['CTRL_VQ'] },
  { feature: 'RSC_EXT', anyOf: ['GUEST_TSO4', 'GUEST_TSO6'] },
  { feature: 'RSS', anyOf: ['CTRL_VQ'] },
  { feature: 'HASH_REPORT', anyOf: ['CTRL_VQ'] },
  { feature: 'HASH_TUNNEL', anyOf: ['RSS', 'HASH_REPORT'] },
]

/** struct virtio_net_config: offsets in bytes. @see VIRTIO 1.3 § 5.1.4 "Device configuration layout" */
export const NetConfig = {
  MAC: 0,
  STATUS: 6,
  MAX_VIRTQUEUE_PAIRS: 8,
  MTU: 10,
  SPEED: 12,
  DUPLEX: 16,
  RSS_MAX_KEY_SIZE: 17,
  RSS_MAX_INDIRECTION_TABLE_LENGTH: 18,
  SUPPORTED_HASH_TYPES: 20,
  S_LINK_UP: 1,
  S_ANNOUNCE: 2,
  SPEED_UNKNOWN: 0xffffffff,
  DUPLEX_HALF: 0,
  DUPLEX_FULL: 1,
  DUPLEX_UNKNOWN: 0xff,
} as const

/** struct virtio_net_hdr: offsets in bytes. @see VIRTIO 1.3 § 5.1.6 "Device Operation" */
export const NetHeader = {
  FLAGS: 0,
  GSO_TYPE: 1,
  HDR_LEN: 2,
  GSO_SIZE: 4,
  CSUM_START: 6,
  CSUM_OFFSET: 8,
  NUM_BUFFERS: 10,
  /** These two only with HASH_REPORT, and padding behind them. */
  HASH_VALUE: 12,
  HASH_REPORT: 16,
  LENGTH_LEGACY: 10,
  LENGTH: 12,
  LENGTH_HASH_REPORT: 20,
  F_NEEDS_CSUM: 1,
  F_DATA_VALID: 2,
  F_RSC_INFO: 4,
  GSO_NONE: 0,
  GSO_TCPV4: 1,
  GSO_UDP: 3,
  GSO_TCPV6: 4,
  GSO_UDP_L4: 5,
  GSO_ECN: 0x80,
} as const

/** Classes and commands of the control virtqueue. @see VIRTIO 1.3 § 5.1.6.5 "Control Virtqueue" */
export const NetControl = {
  OK: 0,
  ERR: 1,
  RX: { CLASS: 0, PROMISC: 0, ALLMULTI: 1, ALLUNI: 2, NOMULTI: 3, NOUNI: 4, NOBCAST: 5 },
  MAC: { CLASS: 1, TABLE_SET: 0, ADDR_SET: 1 },
  VLAN: { CLASS: 2, ADD: 0, DEL: 1 },
  ANNOUNCE: { CLASS: 3, ACK: 0 },
  MQ: { CLASS: 4, VQ_PAIRS_SET: 0, RSS_CONFIG: 1, HASH_CONFIG: 2, MIN_PAIRS: 1, MAX_PAIRS: 0x8000 },
  GUEST_OFFLOADS: { CLASS: 5, SET: 0 },
  NOTF_COAL: { CLASS: 6, TX_SET: 0, RX_SET: 1, VQ_SET: 2, VQ_GET: 3 },
} as const

/**
 * What a device may calculate a hash over, as bits; reported as the bit's number plus one.
 * @see VIRTIO 1.3 § 5.1.6.4.3.1 "Supported/enabled hash types"
 */
export const NetHashType = {
  IPV4: 1,
  TCPV4: 2,
  UDPV4: 4,
  IPV6: 8,
  TCPV6: 0x10,
  UDPV6: 0x20,
  /** These three with extension headers. */
  IP_EX: 0x40,
  TCP_EX: 0x80,
  UDP_EX: 0x100,
  ALL: 0x1ff,
} as const

/** What `hash_report` says. @see VIRTIO 1.3 § 5.1.6.4.5 "Hash reporting for incoming packets" */
export const NetHashReport = {
  NONE: 0,
  IPV4: 1,
  TCPV4: 2,
  UDPV4: 3,
  IPV6: 4,
  TCPV6: 5,
  UDPV6: 6,
  IPV6_EX: 7,
  TCPV6_EX: 8,
  UDPV6_EX: 9,
} as const

/** Least a device may give as its longest key, and as its longest table. @see VIRTIO 1.3 § 5.1.4.1 "Device Requirements: Device configuration layout" */
export const NetRss = { KEY_SIZE_MIN: 40, TABLE_LENGTH_MIN: 128 } as const
