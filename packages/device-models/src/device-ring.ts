import type { DescriptorChain } from './descriptor-chain.ts'
import type { DeviceCore } from './device-core.ts'
import type { DeviceMemory } from './device-memory.ts'
import type { DeviceProfile } from './device-profile.ts'

export interface UsedElement {
  id: number
  length: number
  /** Descriptors the buffer takes in a packed ring. */
  readonly descriptors?: number
}

/** Where the parts of a virtqueue lie, as the driver told: device addresses. */
export interface RingAddresses {
  readonly descriptorArea: number
  readonly driverArea: number
  readonly deviceArea: number
}

/**
 * How far a device is, as 16-bit words: for a split ring free-running indexes into the available and the used ring, for a packed ring
 * descriptors, each with its wrap counter in bit 15.
 */
export interface RingPosition {
  /** The next buffer it takes. */
  readonly taken: number
  /** The next one it uses. */
  readonly used: number
}

/** What the device half of a ring of either format needs to know. */
export interface DeviceRingOptions extends RingAddresses {
  readonly memory: DeviceMemory
  /** Queue size: for a split ring a power of two. */
  readonly size: number
  /** Index of the queue, for messages. */
  readonly queue?: number
  readonly eventIndex?: boolean
  readonly indirect?: boolean
  /**
   * Where to go on in a ring that was in use before. With buffers between used and taken the device has them no more: they are lost.
   * @defaultValue the beginning, in a ring that must be as a driver leaves it: zeroed
   */
  readonly position?: RingPosition | undefined
  /** Sends a used buffer notification. */
  readonly notify?: () => void
  /** Called once when the driver left the ring in a state that the device cannot go on with. */
  readonly onBroken?: (reason: string) => void
  readonly profile?: DeviceProfile | undefined
  readonly device?: DeviceCore | undefined
}

/** The device half of a virtqueue, of either format: what models and profiles work with. */
export interface DeviceRing {
  readonly size: number
  readonly queue: number
  /** The three parts as the device sees them: for profiles that damage them, and for tests. */
  readonly descriptorArea: Uint8Array
  readonly driverArea: Uint8Array
  readonly deviceArea: Uint8Array
  /** Why the device gave this queue up, if it did. */
  readonly broken: string | undefined
  readonly position: RingPosition
  /** Buffers made available and not yet taken; 0 for a ring that is broken or stopped. */
  readonly available: number
  /**
   * How many buffers may be taken from now on, for a device whose driver is another process: one that never stops adding buffers must
   * not keep the device in a loop. Without allowance `take` finds nothing and `requestNotifications` has nothing waiting.
   */
  allowance: number
  /** Takes the next available buffer; undefined when there is none. */
  take(): DescriptorChain | undefined
  /** Puts back the buffers taken last, the latest first: as if they had never been taken. */
  untake(chains: readonly DescriptorChain[]): void
  /**
   * Has a buffer used. The driver sees it after `flush`.
   * @param written bytes written into the device-writable part, from its beginning
   */
  push(chain: DescriptorChain, written: number): void
  /** Lets the driver see what was pushed, and notifies it unless it asked not to be. @returns whether it was notified */
  flush(): boolean
  /** `push` and `flush` in one. */
  use(chain: DescriptorChain, written: number): void
  /**
   * Lets go of the memory for good, because the device or the queue was reset: whoever still works with this ring takes nothing more and
   * writes nothing.
   */
  stop(): void
  /** Writes over the descriptor area, as no device may. */
  scribble(value: (offset: number) => number): void
  /** Tells the driver that the device looks at the ring by itself: notifications are not needed. */
  suppressNotifications(): void
  /**
   * Asks for a notification of the next buffer the driver makes available.
   * @returns true while buffers are waiting: one may have come in the meantime, go on taking
   */
  requestNotifications(): boolean
}
