import type { SessionDescription } from './observable.ts'

/**
 * What goes over a running netd's socket. A request is one line of JSON, the answer is one line of JSON, as many as wanted
 * on one connection; after a successful answer to `capture` come the bytes of a pcapng file until the connection ends. The
 * client ends a capture by ending its side: the closing statistics follow.
 */
export type ControlRequest =
  | { readonly request: 'describe' }
  | { readonly request: 'stats' }
  | { readonly request: 'capture'; readonly snaplen?: number; readonly count?: number }

export type ControlResponse<Result = unknown> =
  | { readonly ok: true; readonly result: Result }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string } }

/** A session and the process it lives in. */
export interface RunningDescription extends SessionDescription {
  readonly name: string
  readonly pid: number
  readonly version: string
  /** When it started, ISO 8601. */
  readonly started: string
}

/** Bytes of a request line at most. */
export const maxRequestLength: number = 4096
/** Bytes of a response line at most: a description, and room to grow. */
export const maxResponseLength: number = 1 << 20
