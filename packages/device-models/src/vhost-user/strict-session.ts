import type { VhostUserProfile } from './vhost-user-profile.ts'

/**
 * A back-end that lets nothing pass: the first message that violates the protocol ends the session. What it was stands in
 * `violations`, as with every profile. Give it as `sessionProfile`.
 */
export function strictSession(): VhostUserProfile {
  return { name: 'strict', strict: true }
}
