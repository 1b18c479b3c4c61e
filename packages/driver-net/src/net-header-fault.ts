/**
 * Why a packet was refused: small integers, as the packet path counts them in an array. Keys in kebab case are the
 * names in `stats()` and in error codes (`rx_dropped_gso_type`, `net.gso-type`).
 */
export const NetHeaderFault = {
  NONE: 0,
  /** The device wrote less than a header. */
  HEADER_SHORT: 1,
  /** num_buffers is none that the ring could hold. */
  NUM_BUFFERS: 2,
  /** Less than an Ethernet header. */
  FRAME_SHORT: 3,
  /** Longer than the MTU allows, or, to be segmented, longer than IP allows. */
  FRAME_LONG: 4,
  /** A buffer of a merged packet holds nothing. */
  FRAGMENT_EMPTY: 5,
  /** A segmentation type that is unknown or was not negotiated. */
  GSO_TYPE: 6,
  /** Congestion notification without the feature, or for something else than TCP. */
  GSO_ECN: 7,
  /** A segment size of nothing, of next to nothing, or beyond what a segment can be. */
  GSO_SIZE: 8,
  /** The frame is not what the segmentation type says. */
  GSO_PROTOCOL: 9,
  /** Headers cut short, or nothing behind them. */
  GSO_HEADERS: 10,
  /** The checksum fields do not point at the transport header's checksum, or are missing where they have to be there. */
  GSO_CHECKSUM: 11,
  /** The checksum lies before the transport header can start, or outside the frame. */
  CHECKSUM_BOUNDS: 12,
  /** The checksum is incomplete, and nobody agreed to that. */
  CHECKSUM_TYPE: 13,
  /** The checksum is incomplete, and the fields that say how to complete it carry something else. */
  CHECKSUM_RSC: 14,
} as const

export type NetHeaderFaultCode = (typeof NetHeaderFault)[keyof typeof NetHeaderFault]

/** Names by code; index 0 is `none`. */
export const netHeaderFaultNames: readonly string[] = Object.keys(NetHeaderFault).map((key) =>
  key.toLowerCase().replaceAll('_', '-'),
)
