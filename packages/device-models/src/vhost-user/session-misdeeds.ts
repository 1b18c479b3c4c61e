import { fstatSync } from 'node:fs'
import { duplicate, type Mapping, mapShared, SystemError, truncate } from '@virtio-ts/native'
import { VhostUser, VhostUserRequest } from '@virtio-ts/spec'
import { encodeMessage } from './encode-message.ts'
import type { VhostUserMoments, VhostUserPoint } from './vhost-user-profile.ts'
import type { VhostUserSession } from './vhost-user-session.ts'

/** The table below says what each does. */
export type SessionMisdeedKind =
  | 'close-on-connect'
  | 'close-before'
  | 'close-unanswered'
  | 'close-after'
  | 'ignore'
  | 'silent'
  | 'wrong-request'
  | 'no-reply-flag'
  | 'wrong-version'
  | 'size-zero'
  | 'size-huge'
  | 'short-payload'
  | 'long-payload'
  | 'trailing-bytes'
  | 'other-payload'
  | 'config-length'
  | 'config-offset'
  | 'extra-fds'
  | 'unasked-reply'
  | 'truncate-memory'
  | 'keep-memory'
  | 'signal-used'
  | 'signal-error'
  | 'back-end-request'
  | 'back-end-garbage'

/** One misdeed of a back-end. */
export interface SessionMisdeed {
  readonly kind: SessionMisdeedKind
  /** Only with this request of the front-end, by number. */
  readonly request?: number
  /** Moments of that sort that pass before, over all sessions. @defaultValue 0 */
  readonly after?: number
  /** How often it happens then. @defaultValue 1 */
  readonly times?: number
  /** What a kind takes as its parameter: see its description. */
  readonly value?: number
  /** For `back-end-request`: descriptors to send along; they stay the caller's. */
  readonly fds?: readonly number[]
}

/** What misdeeds leave behind. */
export interface MisdeedTraces {
  readonly truncations: string[]
  readonly kept: Mapping[]
}

/** What a misdeed does, and when. */
export interface SessionDeed<Point extends VhostUserPoint = VhostUserPoint> {
  readonly at: Point
  readonly apply: (
    moment: VhostUserMoments[Point],
    misdeed: SessionMisdeed,
    session: VhostUserSession,
    traces: MisdeedTraces,
  ) => void
}

type Apply<Point extends VhostUserPoint> = SessionDeed<Point>['apply']

function deed<Point extends VhostUserPoint>(at: Point, apply: Apply<Point>): SessionDeed {
  return { at, apply: apply as SessionDeed['apply'] }
}

const { HEADER_LENGTH, FLAG_REPLY, VERSION } = VhostUser
const [FLAGS, SIZE] = [4, 8]
/** SCM_MAX_FD */
const MAX_FDS = 253
const CONFIG_OFFSET = HEADER_LENGTH
const CONFIG_SIZE = HEADER_LENGTH + 4

/** A misdeed done to a reply: to a copy of it. */
function reply(change: (view: DataView, misdeed: SessionMisdeed) => Uint8Array | void): SessionDeed {
  return deed('reply', (moment, misdeed) => {
    const message = moment.message.slice()
    moment.message = change(new DataView(message.buffer), misdeed) ?? message
  })
}

function bytesOf(view: DataView, length: number = view.byteLength): Uint8Array {
  const bytes = new Uint8Array(length)
  bytes.set(new Uint8Array(view.buffer, 0, Math.min(length, view.byteLength)))
  return bytes
}

/** A reply with so many bytes of payload more or less, and a size that says so. */
function resized(view: DataView, difference: number): Uint8Array {
  const length = Math.max(HEADER_LENGTH, view.byteLength + difference)
  view.setUint32(SIZE, length - HEADER_LENGTH, true)
  return bytesOf(view, length)
}

/** What a back-end does to its front-end, by kind. */
export const sessionMisdeeds: Readonly<Record<SessionMisdeedKind, SessionDeed>> = {
  /** Closes the connection as soon as there is one. */
  'close-on-connect': deed('connect', (moment) => {
    moment.close = true
  }),
  /** Closes it when a message has come, before anything is done. */
  'close-before': deed('request', (moment) => {
    moment.action = 'close'
  }),
  /** Does what the message says and closes without the reply. */
  'close-unanswered': deed('reply', (moment, _misdeed, session) => {
    moment.send = false
    session.end('closed in place of a reply')
  }),
  /** Closes when the message is dealt with and answered. */
  'close-after': deed('handled', (moment) => {
    moment.close = true
  }),
  /** Passes over a message. */
  ignore: deed('request', (moment) => {
    moment.action = 'ignore'
  }),
  /** Does what the message says and never answers. */
  silent: deed('reply', (moment) => {
    moment.send = false
  }),
  /** A reply to another request: number `value`, or the next one. */
  'wrong-request': reply((view, { value }) => view.setUint32(0, value ?? view.getUint32(0, true) + 1, true)),
  'no-reply-flag': reply((view) => view.setUint32(FLAGS, view.getUint32(FLAGS, true) & ~FLAG_REPLY, true)),
  /** Version `value`, or 2. */
  'wrong-version': reply((view, { value }) => view.setUint32(FLAGS, FLAG_REPLY | (value ?? 2), true)),
  /** A header that says there is no payload, and none. */
  'size-zero': reply((view) => resized(view, HEADER_LENGTH - view.byteLength)),
  /** A header that says there are `value` bytes, or 2^32 - 1, behind which there are no more than usual. */
  'size-huge': reply((view, { value }) => view.setUint32(SIZE, value ?? 0xffff_ffff, true)),
  /** A payload of `value` bytes fewer, or one; the header says so. */
  'short-payload': reply((view, { value }) => resized(view, -(value ?? 1))),
  /** A payload of `value` bytes more, or 8. */
  'long-payload': reply((view, { value }) => resized(view, value ?? 8)),
  /** A whole reply, and `value` bytes behind it, or 8, that belong to nothing. */
  'trailing-bytes': reply((view, { value }) => bytesOf(view, view.byteLength + (value ?? 8))),
  /** All bytes of the payload are `value`, or 0xff: features nobody has, a failure where success was. */
  'other-payload': reply((view, { value }) =>
    bytesOf(view)
      .fill(value ?? 0xff, HEADER_LENGTH)
      .slice(),
  ),
  /** GET_CONFIG is answered for `value` bytes more (fewer when negative), or 1: in the size it names, not in the payload. */
  'config-length': reply((view, { value }) =>
    view.setUint32(CONFIG_SIZE, view.getUint32(CONFIG_SIZE, true) + (value ?? 1), true),
  ),
  /** GET_CONFIG is answered for `value` bytes further on, or 1. */
  'config-offset': reply((view, { value }) =>
    view.setUint32(CONFIG_OFFSET, view.getUint32(CONFIG_OFFSET, true) + (value ?? 1), true),
  ),
  /** `value` descriptors come with the reply, or 1; no more than a message can carry. */
  'extra-fds': deed('reply', (moment, { value }) => {
    const count = Math.min(value ?? 1, MAX_FDS - moment.fds.length)
    moment.fds = [...moment.fds, ...Array.from({ length: count }, () => duplicate(2))]
  }),
  /** A reply nobody asked for comes behind a message: to request `value`, or GET_FEATURES. */
  'unasked-reply': deed('handled', (_moment, { value }, session) =>
    session.sendBytes(encodeMessage(value ?? VhostUserRequest.GET_FEATURES, VERSION | FLAG_REPLY, new Uint8Array(8))),
  ),
  /** Cuts off the front-end's memory at `value` bytes, or 0. */
  'truncate-memory': deed('request', ({ fds }, { value }, _session, { truncations }) => {
    for (const fd of fds) {
      try {
        truncate(fd, value ?? 0)
        truncations.push('done')
      } catch (error) {
        if (!(error instanceof SystemError)) throw error
        truncations.push(error.code)
      }
    }
  }),
  /** Maps the front-end's memory for good. */
  'keep-memory': deed('request', ({ fds }, _misdeed, _session, { kept }) => {
    for (const fd of fds) kept.push(mapShared(fd, fstatSync(fd).size))
  }),
  /** A used buffer notification for nothing, of queue `value` or of all. */
  'signal-used': deed('handled', (_moment, { value }, { device }) => {
    for (const queue of device.queues) if (value === undefined || value === queue.index) queue.signalUsed()
  }),
  /** An error of queue `value`, or of all. */
  'signal-error': deed('handled', (_moment, { value }, { device }) => {
    for (const queue of device.queues) if (value === undefined || value === queue.index) queue.signalError()
  }),
  /** Request `value` on the back-end's channel, or CONFIG_CHANGE_MSG, whatever was agreed on. */
  'back-end-request': deed('handled', (_moment, { value, fds }, { device }) =>
    device.channel?.send(value ?? 2, new Uint8Array(value === undefined || value === 2 ? 0 : 24), fds),
  ),
  /** `value` bytes on the back-end's channel that are no message, or 12. */
  'back-end-garbage': deed('handled', (_moment, { value }, { device }) =>
    device.channel?.sendBytes(new Uint8Array(value ?? 12).fill(0xff)),
  ),
}
