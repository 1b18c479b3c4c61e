import { close, SystemError } from '@virtio-ts/native'
import { VhostUser, VhostUserRequest } from '@virtio-ts/spec'
import type { DeviceModel } from '../device-model.ts'
import type { ViolationLog } from '../violation-log.ts'
import { encodeMessage, encodeNumber } from './encode-message.ts'
import { type FrontEndMessage, MessageStream } from './message-stream.ts'
import { ReceivedFds } from './received-fds.ts'
import { Refused } from './refused.ts'
import { type Reply, requestHandlers } from './request-handlers.ts'
import { requestName, type RequestRule, requestRules } from './request-rules.ts'
import { VhostUserDevice } from './vhost-user-device.ts'
import type { VhostUserOptions } from './vhost-user-options.ts'
import type { VhostUserMoments, VhostUserPoint, VhostUserProfile } from './vhost-user-profile.ts'
import { VhostUserRules } from './vhost-user-rules.ts'

const { FLAG_REPLY, FLAG_NEED_REPLY, VERSION, VERSION_MASK } = VhostUser
const SUCCESS = 0n
const FAILURE = 1n

export interface VhostUserSessionOptions {
  readonly model: DeviceModel
  /** The socket; owned by the session. */
  readonly fd: number
  readonly options: VhostUserOptions
  readonly violations: ViolationLog
  readonly onEnd: (reason: string) => void
}

/** One front-end's connection: takes its messages in order, holds them against the protocol, answers. */
export class VhostUserSession {
  readonly device: VhostUserDevice
  readonly #options: VhostUserSessionOptions
  readonly #profile: VhostUserProfile
  readonly #stream: MessageStream
  readonly #seen = new Set<number>()
  #count = 0
  #ended = false

  constructor(options: VhostUserSessionOptions) {
    this.#options = options
    this.#profile = options.options.sessionProfile ?? { name: 'honest' }
    const { closeAfterReading, closeAfterSending } = this.#profile
    this.#stream = new MessageStream({
      fd: options.fd,
      onMessage: (message) => this.#take(message),
      onEnd: (reason) => this.end(reason),
      closeAfterReading,
      closeAfterSending,
    })
    this.device = new VhostUserDevice(options.model, options.options, options.violations, () => this.#stream.readNow())
  }

  /** Messages of the front-end so far. */
  get messages(): number {
    return this.#count
  }

  /** Sends bytes as they are: for profiles that say what nobody asked. @param fds closed when they have gone */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#stream.send(bytes, fds)
  }

  /** Begins to serve the front-end. */
  start(): void {
    const moment = { close: false }
    this.#show('connect', moment)
    if (moment.close) this.end('closed on connecting')
    else this.#stream.start()
  }

  /** Ends the connection, and all that the front-end set up. */
  end(reason: string): void {
    if (this.#ended) return
    this.#ended = true
    this.#show('end', { reason })
    this.#stream.close()
    this.device.close()
    this.#options.onEnd(reason)
  }

  #take(message: FrontEndMessage): void {
    const { request, payload } = message
    const fds = new ReceivedFds(message.fds)
    const before = this.#options.violations.count
    const count = this.#count++
    try {
      const moment: VhostUserMoments['request'] = { request, count, payload, fds: fds.list, action: 'handle' }
      this.#show('request', moment)
      if (moment.action === 'close') return this.end('closed on a message')
      if (moment.action === 'handle') this.#handle(message, fds, count)
    } finally {
      fds.closeRest()
    }
    const handled = { request, count, close: false }
    this.#show('handled', handled)
    if (handled.close) this.end('closed behind a message')
    else if (this.#profile.strict && this.#options.violations.count > before)
      this.end(`${requestName(request)} violates the protocol`)
  }

  #handle({ request, flags, payload }: FrontEndMessage, fds: ReceivedFds, count: number): void {
    const { device } = this
    const wantsAcknowledgement = (flags & FLAG_NEED_REPLY) !== 0
    const acknowledges = wantsAcknowledgement && device.accepted('REPLY_ACK')
    const form = requestRules.get(request)
    this.#judgeFlags(request, flags)
    let reply: Reply | undefined
    try {
      const known = this.#check(request, form, payload, fds)
      const handler = requestHandlers.get(request)
      const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength)
      if (known && handler) reply = handler(device, { payload, view, fds }) ?? undefined
      else if (acknowledges) reply = { payload: encodeNumber(FAILURE) }
    } catch (error) {
      // A descriptor that is none of what it should be, or more of them than this process may have, shows in a system call.
      if (!(error instanceof Refused || error instanceof SystemError)) throw error
      const rule = error instanceof Refused ? error.rule : VhostUserRules.MESSAGES
      device.violation(rule, `${requestName(request)}: ${error.message}`)
      // Where the answer has a form of its own there is none that says no; nor is there a way on without what was agreed.
      if (form?.answered || request === VhostUserRequest.SET_PROTOCOL_FEATURES) return this.end(error.message)
      if (acknowledges) reply = { payload: encodeNumber(FAILURE) }
      return this.#reply(request, count, reply)
    }
    this.#seen.add(request)
    if (!reply && acknowledges) reply = { payload: encodeNumber(SUCCESS) }
    this.#reply(request, count, reply)
  }

  /**
   * Holds a request against what must have come before it, and what it must look like.
   * @returns whether it is one this back-end deals with
   * @throws Refused for one that is malformed
   */
  #check(request: number, rule: RequestRule | undefined, payload: Uint8Array, fds: ReceivedFds): boolean {
    const { device } = this
    const name = requestName(request)
    if (!rule || (rule.feature && !device.offers(rule.feature))) {
      device.violation(VhostUserRules.MESSAGES, `${name}, which this back-end does not know or offer`)
      return false
    }
    if (rule.feature && !rule.offered && !device.accepted(rule.feature))
      device.violation(VhostUserRules.PROTOCOL_FEATURES, `${name} without ${rule.feature}`)
    if (rule.owned && !this.#seen.has(VhostUserRequest.SET_OWNER))
      device.violation(VhostUserRules.MESSAGES, `${name} before SET_OWNER`)
    this.#judgeOrder(request)
    const [least, most] = typeof rule.length === 'number' ? [rule.length, rule.length] : rule.length
    if (payload.length < least || payload.length > most)
      throw new Refused(VhostUserRules.PAYLOAD, `${name} with a payload of ${payload.length} bytes`)
    const [fewest, atMost] = rule.fds ?? [0, 0]
    const present = fds.list.length
    if (present < fewest) throw new Refused(VhostUserRules.COMMUNICATION, `${name} without a descriptor`)
    if (present > atMost) throw new Refused(VhostUserRules.COMMUNICATION, `${name} with ${present} descriptors`)
    return true
  }

  #judgeOrder(request: number): void {
    const { device } = this
    const { GET_FEATURES, SET_FEATURES, SET_OWNER, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES } = VhostUserRequest
    const before = (earlier: number, text: string): void => {
      if (!this.#seen.has(earlier)) device.violation(VhostUserRules.MESSAGES, text)
    }
    if (request === SET_OWNER && this.#seen.has(SET_OWNER))
      device.violation(VhostUserRules.MESSAGES, 'SET_OWNER a second time')
    if (request === SET_FEATURES) before(GET_FEATURES, 'SET_FEATURES before GET_FEATURES')
    if (request === GET_PROTOCOL_FEATURES) before(GET_FEATURES, 'GET_PROTOCOL_FEATURES before GET_FEATURES')
    if (request === SET_PROTOCOL_FEATURES)
      before(GET_PROTOCOL_FEATURES, 'SET_PROTOCOL_FEATURES before GET_PROTOCOL_FEATURES')
    if (
      (request === GET_PROTOCOL_FEATURES || request === SET_PROTOCOL_FEATURES) &&
      device.offeredProtocol === undefined
    )
      device.violation(VhostUserRules.PROTOCOL_FEATURES, `${requestName(request)} without bit 30 among the features`)
  }

  #judgeFlags(request: number, flags: number): void {
    const name = requestName(request)
    const { device } = this
    if ((flags & FLAG_REPLY) !== 0) device.violation(VhostUserRules.HEADER, `${name} with the flag of a reply`)
    if ((flags & ~(VERSION_MASK | FLAG_REPLY | FLAG_NEED_REPLY)) !== 0)
      device.violation(VhostUserRules.HEADER, `${name} with flags 0x${(flags >>> 0).toString(16)}`)
    if ((flags & FLAG_NEED_REPLY) !== 0 && !device.accepted('REPLY_ACK'))
      device.violation(VhostUserRules.REPLY_ACK, `${name} wants an acknowledgement, which was not agreed on`)
  }

  #reply(request: number, count: number, reply: Reply | undefined): void {
    if (!reply) return
    const message = encodeMessage(request, VERSION | FLAG_REPLY, reply.payload)
    const moment: VhostUserMoments['reply'] = { request, count, message, fds: reply.fds ?? [], send: true }
    this.#show('reply', moment)
    if (moment.send) this.#stream.send(moment.message, moment.fds)
    else for (const fd of moment.fds) close(fd)
  }

  #show<Point extends VhostUserPoint>(point: Point, moment: VhostUserMoments[Point]): void {
    this.#profile.on?.(point, moment, this)
  }
}
