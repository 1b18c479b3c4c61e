import type { SessionDescription } from '../control/observable.ts'
import type { FrameListener } from './frame-tap.ts'

/** A running session, in the thread that moves its frames. */
export interface HostedSession {
  /** What it is called from outside. */
  readonly name: string
  /** Resolves with the reason when the session cannot go on; `stop` is still the caller's to call. */
  readonly ended: Promise<Error>
  describe(): SessionDescription
  /** Fetches what other threads have counted. */
  refresh(): Promise<void>
  stats(): Record<string, number>
  /** Hands every packet to `listener` from now on. @returns takes it off again */
  attachCapture(listener: FrameListener): () => void
  /** Takes no more frames, lets those in the rings leave, and lets everything go. Idempotent. */
  stop(): Promise<void>
}
