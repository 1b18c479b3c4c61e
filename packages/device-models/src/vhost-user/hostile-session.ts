import type { Mapping } from '@virtio-ts/native'
import { type SessionMisdeed, type SessionMisdeedKind, sessionMisdeeds } from './session-misdeeds.ts'
import type { VhostUserProfile } from './vhost-user-profile.ts'

/** A back-end that keeps a script of misdeeds. */
export interface HostileSession extends VhostUserProfile {
  /** Misdeeds done so far: a test that expects one can see that it came about. */
  readonly done: number
  /** What the system said when the front-end's memory was to be cut off: error codes, or `done`. */
  readonly truncations: readonly string[]
  /** Writes `value` into all memory kept by `keep-memory`, whoever uses it now. @returns bytes written */
  scribble(value: number): number
  /** Lets go of memory kept. */
  release(): void
}

/** Every misdeed there is. */
export const sessionMisdeedKinds: readonly SessionMisdeedKind[] = Object.keys(sessionMisdeeds) as SessionMisdeedKind[]

/**
 * A back-end that treats its front-end badly by script, and well otherwise. Give it as `sessionProfile`.
 * @param limits where it closes the connection in mid-message: after so many bytes read or sent in a session
 */
export function hostileSession(
  script: SessionMisdeed | readonly SessionMisdeed[] = [],
  limits: Pick<VhostUserProfile, 'closeAfterReading' | 'closeAfterSending'> = {},
): HostileSession {
  const list = Array.isArray(script) ? (script as readonly SessionMisdeed[]) : [script as SessionMisdeed]
  const running = list.map((misdeed) => ({ misdeed, wait: misdeed.after ?? 0, left: misdeed.times ?? 1 }))
  const truncations: string[] = []
  const kept: Mapping[] = []
  let done = 0
  return {
    name: 'hostile',
    ...limits,
    get done() {
      return done
    },
    truncations,
    on(point, moment, session) {
      for (const item of running) {
        const { at, apply } = sessionMisdeeds[item.misdeed.kind]
        if (at !== point || !isAbout(moment, item.misdeed)) continue
        if (item.wait > 0) item.wait--
        else if (item.left > 0) {
          item.left--
          done++
          apply(moment, item.misdeed, session, { truncations, kept })
        }
      }
    },
    scribble(value) {
      for (const { bytes } of kept) bytes.fill(value)
      return kept.reduce((sum, { bytes }) => sum + bytes.length, 0)
    },
    release() {
      for (const mapping of kept.splice(0)) mapping.unmap()
    },
  }
}

function isAbout(moment: object, { request }: SessionMisdeed): boolean {
  return request === undefined || !('request' in moment) || moment.request === request
}
