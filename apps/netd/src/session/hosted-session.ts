import type { PacketTap } from '../capture/packet-tap.ts'
import type { SessionDescription } from '../control/observable.ts'

/** A running session, in the thread that moves its frames. */
export interface HostedSession {
  /** What it is called from outside. */
  readonly name: string
  /** Resolves with the reason when the session cannot go on; `stop` is still the caller's to call. */
  readonly ended: Promise<Error>
  describe(): SessionDescription
  stats(): Record<string, number>
  /** Hands every packet to `tap` from now on. @returns takes it off again */
  attachCapture(tap: PacketTap): () => void
  /** Takes no more frames, lets those in the rings leave, and lets everything go. Idempotent. */
  stop(): Promise<void>
}
