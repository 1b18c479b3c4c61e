import type { VhostUserSession } from './vhost-user-session.ts'

/** The moments of a session at which back-ends differ; fields that are not `readonly` are what it is about to do. */
export interface VhostUserMoments {
  /** A front-end has connected. */
  connect: { close: boolean }
  /** A whole message of the front-end has come, the `count`-th of this session, from 0. */
  request: {
    readonly request: number
    readonly count: number
    readonly payload: Uint8Array
    /** Descriptors that came with it; closed by the session when it is done with the message. */
    readonly fds: readonly number[]
    /** Act on it, pass over it, or close the connection at once. */
    action: 'handle' | 'ignore' | 'close'
  }
  /** A reply is about to be sent: header and payload, and the descriptors that go with it. */
  reply: {
    readonly request: number
    readonly count: number
    message: Uint8Array
    fds: readonly number[]
    send: boolean
  }
  /** The message has been dealt with, and its reply is under way if it gets one. */
  handled: { readonly request: number; readonly count: number; close: boolean }
  /** The session is over: the front-end has gone, or was sent away. */
  end: { readonly reason: string }
}

export type VhostUserPoint = keyof VhostUserMoments

/** A way for a back-end to treat its front-end. Keeps state of its own: one profile, one back-end. */
export interface VhostUserProfile {
  readonly name: string
  /** Ends the session at the first violation of the protocol. @defaultValue false */
  readonly strict?: boolean
  /** Closes the connection after so many bytes of the front-end, counted within a session. */
  readonly closeAfterReading?: number | undefined
  /** Closes the connection after so many bytes of its own. */
  readonly closeAfterSending?: number | undefined
  on?<Point extends VhostUserPoint>(point: Point, moment: VhostUserMoments[Point], session: VhostUserSession): void
}
