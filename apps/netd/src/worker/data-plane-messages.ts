import type { SessionDescription } from '../control/observable.ts'
import type { BridgeOptions } from '../session/bridge-session.ts'
import type { SessionEvent } from '../session/session-event.ts'
import type { SessionOptions } from '../session/net-session.ts'
import type { PortableError } from './portable-error.ts'

/** What the data plane's thread is started with. Locators travel as text. */
export type SessionRequest =
  | { readonly kind: 'tap'; readonly options: SessionOptions }
  | { readonly kind: 'bridge'; readonly options: BridgeOptions }

/** To the data plane. */
export type DataPlaneOrder =
  | { readonly order: 'ask'; readonly id: number; readonly about: 'describe' | 'stats' }
  | { readonly order: 'capture'; readonly on: boolean }
  /** Bytes of batches of captured frames that have been dealt with. */
  | { readonly order: 'frames-taken'; readonly bytes: number }
  | { readonly order: 'stop' }

/** From the data plane: `event`s, then `opened` or `failed`, at last `stopped`, after which the thread ends. */
export type DataPlaneReport =
  | { readonly report: 'event'; readonly event: SessionEvent }
  | { readonly report: 'opened'; readonly name: string; readonly description: SessionDescription }
  | { readonly report: 'failed'; readonly error: PortableError }
  | { readonly report: 'answer'; readonly id: number; readonly result: unknown }
  | { readonly report: 'refusal'; readonly id: number; readonly error: PortableError }
  | { readonly report: 'frames'; readonly batch: Uint8Array; readonly dropped: number }
  /** An error nobody caught. The thread is not to be relied upon any more. */
  | { readonly report: 'crashed'; readonly error: PortableError }
  /** The session cannot go on; it is still to be stopped. */
  | { readonly report: 'ended'; readonly reason: PortableError }
  | { readonly report: 'stopped'; readonly error?: PortableError }
