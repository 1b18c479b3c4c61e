/**
 * Requests a front-end sends. Names and numbers are those of QEMU's docs/interop/vhost-user.rst, "Front-end message types"; it is the
 * protocol's own word for things that are called otherwise in this project.
 */
export const VhostUserRequest = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  RESET_OWNER: 4,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_LOG_FD: 7,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SEND_RARP: 19,
  NET_SET_MTU: 20,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  RESET_DEVICE: 34,
  VRING_KICK: 35,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const

export type VhostUserRequestName = keyof typeof VhostUserRequest

/** Requests a back-end sends, on the socket it got by SET_BACKEND_REQ_FD. "Back-end message types" */
export const VhostUserBackEndRequest = {
  CONFIG_CHANGE_MSG: 2,
  VRING_HOST_NOTIFIER_MSG: 3,
  VRING_CALL: 4,
  VRING_ERR: 5,
} as const

/** Bits of GET_PROTOCOL_FEATURES and SET_PROTOCOL_FEATURES. "Protocol features" */
export const VhostUserProtocolFeature = {
  MQ: 0,
  LOG_SHMFD: 1,
  RARP: 2,
  REPLY_ACK: 3,
  NET_MTU: 4,
  BACKEND_REQ: 5,
  CROSS_ENDIAN: 6,
  PAGEFAULT: 8,
  CONFIG: 9,
  BACKEND_SEND_FD: 10,
  HOST_NOTIFIER: 11,
  INFLIGHT_SHMFD: 12,
  RESET_DEVICE: 13,
  INBAND_NOTIFICATIONS: 14,
  CONFIGURE_MEM_SLOTS: 15,
  STATUS: 16,
} as const

export type VhostUserProtocolFeatureName = keyof typeof VhostUserProtocolFeature

/** Sizes, flags and limits of messages, in bytes. "Message Specification" */
export const VhostUser = {
  /** request, flags, size: three 32-bit words in front of each payload. */
  HEADER_LENGTH: 12,
  VERSION: 1,
  VERSION_MASK: 3,
  FLAG_REPLY: 4,
  FLAG_NEED_REPLY: 8,
  /** The bit among the device's features that says there are protocol features. */
  F_PROTOCOL_FEATURES: 30,
  /** Queue index in SET_VRING_KICK, _CALL and _ERR; above it the bit for "no descriptor, poll". */
  VRING_INDEX_MASK: 0xff,
  VRING_NO_FD: 0x100,
  /** Regions of SET_MEM_TABLE. */
  MAX_MEMORY_REGIONS: 8,
  /** Of GET_CONFIG and SET_CONFIG. */
  MAX_CONFIG_LENGTH: 256,
} as const
