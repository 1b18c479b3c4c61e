import { type VhostUserProtocolFeatureName, VhostUserRequest } from '@virtio-ts/spec'

/** What a request must look like, and when it may come. */
export interface RequestRule {
  readonly name: string
  /** Bytes of payload: exactly, or from and to. */
  readonly length: number | readonly [number, number]
  /** Descriptors that come with it, at least and at most. @defaultValue none */
  readonly fds?: readonly [number, number]
  /** Its answer has a payload of its own: no acknowledgement takes its place. */
  readonly answered?: boolean
  /** Only after SET_OWNER. */
  readonly owned?: boolean
  /** Only with this protocol feature: accepted, or for some requests no more than offered. */
  readonly feature?: VhostUserProtocolFeatureName
  readonly offered?: boolean
}

const {
  GET_FEATURES,
  SET_FEATURES,
  SET_OWNER,
  RESET_OWNER,
  SET_MEM_TABLE,
  SET_VRING_NUM,
  SET_VRING_ADDR,
  SET_VRING_BASE,
  GET_VRING_BASE,
  SET_VRING_KICK,
  SET_VRING_CALL,
  SET_VRING_ERR,
  GET_PROTOCOL_FEATURES,
  SET_PROTOCOL_FEATURES,
  GET_QUEUE_NUM,
  SET_VRING_ENABLE,
  NET_SET_MTU,
  SET_BACKEND_REQ_FD,
  GET_CONFIG,
  SET_CONFIG,
  GET_INFLIGHT_FD,
  SET_INFLIGHT_FD,
  RESET_DEVICE,
  VRING_KICK,
  GET_MAX_MEM_SLOTS,
  ADD_MEM_REG,
  REM_MEM_REG,
  SET_STATUS,
  GET_STATUS,
} = VhostUserRequest

const NUMBER = 8
const RING_STATE = 8
const RING_ADDRESS = 40
const SINGLE_REGION = 40
/** A description of eight regions; fewer make it shorter. */
const REGIONS = [8, 8 + 8 * 32] as const
const CONFIG = [12, 12 + 256] as const
/** struct VhostUserInflight, with and without what the compiler pads it with. */
const IN_FLIGHT = [20, 24] as const

const rule = (name: string, length: RequestRule['length'], more: Partial<RequestRule> = {}): RequestRule => ({
  name,
  length,
  ...more,
})
const ONE_FD = { fds: [1, 1] } as const
const MAYBE_FD = { fds: [0, 1] } as const
const OWNED = { owned: true }
const ANSWERED = { answered: true }

/** The requests a back-end of this project knows, by number. "Front-end message types" */
export const requestRules: ReadonlyMap<number, RequestRule> = new Map([
  [GET_FEATURES, rule('GET_FEATURES', 0, ANSWERED)],
  [SET_FEATURES, rule('SET_FEATURES', NUMBER, OWNED)],
  [SET_OWNER, rule('SET_OWNER', 0)],
  [RESET_OWNER, rule('RESET_OWNER', 0)],
  [SET_MEM_TABLE, rule('SET_MEM_TABLE', REGIONS, { ...OWNED, fds: [0, 8] })],
  [SET_VRING_NUM, rule('SET_VRING_NUM', RING_STATE, OWNED)],
  [SET_VRING_ADDR, rule('SET_VRING_ADDR', RING_ADDRESS, OWNED)],
  [SET_VRING_BASE, rule('SET_VRING_BASE', RING_STATE, OWNED)],
  [GET_VRING_BASE, rule('GET_VRING_BASE', RING_STATE, { ...OWNED, ...ANSWERED })],
  [SET_VRING_KICK, rule('SET_VRING_KICK', NUMBER, { ...OWNED, ...MAYBE_FD })],
  [SET_VRING_CALL, rule('SET_VRING_CALL', NUMBER, { ...OWNED, ...MAYBE_FD })],
  [SET_VRING_ERR, rule('SET_VRING_ERR', NUMBER, { ...OWNED, ...MAYBE_FD })],
  [GET_PROTOCOL_FEATURES, rule('GET_PROTOCOL_FEATURES', 0, ANSWERED)],
  [SET_PROTOCOL_FEATURES, rule('SET_PROTOCOL_FEATURES', NUMBER)],
  [GET_QUEUE_NUM, rule('GET_QUEUE_NUM', 0, { ...ANSWERED, feature: 'MQ', offered: true })],
  [SET_VRING_ENABLE, rule('SET_VRING_ENABLE', RING_STATE, OWNED)],
  [NET_SET_MTU, rule('NET_SET_MTU', NUMBER, { feature: 'NET_MTU', offered: true })],
  [SET_BACKEND_REQ_FD, rule('SET_BACKEND_REQ_FD', 0, { ...ONE_FD, feature: 'BACKEND_REQ' })],
  [GET_CONFIG, rule('GET_CONFIG', CONFIG, { ...ANSWERED, feature: 'CONFIG' })],
  [SET_CONFIG, rule('SET_CONFIG', CONFIG, { feature: 'CONFIG' })],
  [GET_INFLIGHT_FD, rule('GET_INFLIGHT_FD', IN_FLIGHT, { ...ANSWERED, feature: 'INFLIGHT_SHMFD' })],
  [SET_INFLIGHT_FD, rule('SET_INFLIGHT_FD', IN_FLIGHT, { ...ONE_FD, feature: 'INFLIGHT_SHMFD' })],
  [RESET_DEVICE, rule('RESET_DEVICE', 0, { feature: 'RESET_DEVICE', offered: true })],
  [VRING_KICK, rule('VRING_KICK', RING_STATE, { ...OWNED, feature: 'INBAND_NOTIFICATIONS' })],
  [GET_MAX_MEM_SLOTS, rule('GET_MAX_MEM_SLOTS', 0, { ...ANSWERED, feature: 'CONFIGURE_MEM_SLOTS' })],
  [ADD_MEM_REG, rule('ADD_MEM_REG', SINGLE_REGION, { ...OWNED, ...ONE_FD, feature: 'CONFIGURE_MEM_SLOTS' })],
  [REM_MEM_REG, rule('REM_MEM_REG', SINGLE_REGION, { ...OWNED, ...MAYBE_FD, feature: 'CONFIGURE_MEM_SLOTS' })],
  [SET_STATUS, rule('SET_STATUS', NUMBER, { ...OWNED, feature: 'STATUS' })],
  [GET_STATUS, rule('GET_STATUS', 0, { ...ANSWERED, feature: 'STATUS' })],
])

/** `SET_OWNER` for 3; `request 99` for a number without a name here. */
export function requestName(request: number): string {
  return requestRules.get(request)?.name ?? `request ${request}`
}
