import type { ReservedFeatureName, VhostUserProtocolFeatureName } from '@virtio-ts/spec'
import type { DeviceProfile } from '../device-profile.ts'
import type { VhostUserProfile } from './vhost-user-profile.ts'

export interface VhostUserOptions {
  /**
   * Protocol features to offer (true) or not (false), different from the default; `false`: the back-end knows of no protocol features.
   * @defaultValue MQ, REPLY_ACK, BACKEND_REQ, INFLIGHT_SHMFD, RESET_DEVICE, CONFIGURE_MEM_SLOTS, STATUS, and CONFIG and NET_MTU where the
   * model has use for them
   */
  readonly protocolFeatures?: Readonly<Partial<Record<VhostUserProtocolFeatureName, boolean>>> | false
  /** Ring and transport features to offer (true) or not (false), different from the default: VERSION_1, EVENT_IDX, INDIRECT_DESC. */
  readonly ringFeatures?: Readonly<Partial<Record<ReservedFeatureName, boolean>>>
  /** More feature bits to offer: e.g. bits that nothing defines. */
  readonly extraFeatures?: bigint
  /** What GET_QUEUE_NUM says. @defaultValue the model's queues; for a network device, as is the custom, its queue pairs */
  readonly queueCount?: number
  /** Memory regions there may be. @defaultValue 32 with CONFIGURE_MEM_SLOTS, 8 without */
  readonly memorySlots?: number
  /** Buffers taken from a queue before the event loop gets its turn. @defaultValue 1024 */
  readonly buffersAtOnce?: number
  /** How the device behaves at its rings. @defaultValue `honest()` */
  readonly profile?: DeviceProfile
  /** How the back-end treats its front-end. @defaultValue as the protocol has it */
  readonly sessionProfile?: VhostUserProfile
  /** Called when a front-end has connected and when it has gone. */
  readonly onSession?: (event: 'connected' | 'disconnected', reason: string) => void
}

export interface VhostUserServeOptions extends VhostUserOptions {
  /** The socket: made by the back-end, and removed when it closes. One that nobody listens on any more is replaced. */
  readonly path: string
}
