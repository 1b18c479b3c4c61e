import type { NetDriver } from '@virtio-ts/driver-net'

/** What moving frames takes of a driver: one pair of queues, in the thread that serves it. */
export type PacketPair = Pick<
  NetDriver,
  | 'bytes'
  | 'receive'
  | 'onReceive'
  | 'armReceive'
  | 'reserve'
  | 'maxFrameLength'
  | 'frameOffset'
  | 'capacity'
  | 'commit'
  | 'cancel'
  | 'publish'
  | 'onTransmitSpace'
  | 'poll'
>
