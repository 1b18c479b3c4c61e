import { close, Errno, receiveWithFds, sendWithFds, watchReadable } from '@virtio-ts/native'
import { VhostUser } from '@virtio-ts/spec'

/** A message of the front-end. */
export interface FrontEndMessage {
  readonly request: number
  readonly flags: number
  /** Bytes of its own: nothing changes them later. */
  readonly payload: Uint8Array
  readonly fds: readonly number[]
}

export interface MessageStreamOptions {
  /** One end of a Unix stream socket; owned by the stream from now on. */
  readonly fd: number
  /** Called with each message. The descriptors are the listener's to close. */
  readonly onMessage: (message: FrontEndMessage) => void
  /** Called once when the stream has ended by itself. */
  readonly onEnd: (reason: string) => void
  readonly closeAfterReading?: number | undefined
  readonly closeAfterSending?: number | undefined
}

const { HEADER_LENGTH } = VhostUser
/** No message of the protocol is longer: beyond it the sender is lost, or wants memory to be wasted. */
const MAX_PAYLOAD = 4096
/** SCM_MAX_FD: what one message can carry at all. */
const MAX_FDS = 253
/** Messages before the event loop gets its turn: a front-end that never stops must not be the only one served. */
const MESSAGES_AT_ONCE = 64
const RETRY_MS = 2

/** Cuts the socket's stream into messages, and sends whole ones whatever room the socket has. */
export class MessageStream {
  readonly #options: MessageStreamOptions
  readonly #fd: number
  /** The message that is being read: header first, then as long as it says. */
  #incoming = new Uint8Array(HEADER_LENGTH)
  #have = 0
  #fds: number[] = []
  #outgoing: { readonly bytes: Uint8Array; fds: readonly number[] }[] = []
  #stopWatching: (() => void) | undefined
  #retry: NodeJS.Timeout | undefined
  #read = 0
  #sent = 0
  #busy = false
  #closed = false

  constructor(options: MessageStreamOptions) {
    this.#options = options
    this.#fd = options.fd
  }

  /** Begins to read. */
  start(): void {
    if (!this.#closed) this.#stopWatching ??= watchReadable(this.#fd, () => this.readNow())
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Reads what is there now, without waiting for the event loop. */
  readNow(): void {
    // From within a message: the loop that is running goes on.
    if (this.#busy) return
    this.#busy = true
    try {
      for (let n = 0; n < MESSAGES_AT_ONCE && !this.#closed; n++) {
        // Who does not read replies is not answered further: nothing piles up here.
        if (this.#outgoing.length > 0 || !this.#readMessage()) break
      }
    } finally {
      this.#busy = false
    }
  }

  /** @param fds the stream's from now on: it sends copies and closes them */
  send(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (this.#closed) {
      for (const fd of fds) close(fd)
      return
    }
    this.#outgoing.push({ bytes, fds })
    this.#flush()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stopWatching?.()
    clearTimeout(this.#retry)
    for (const fd of this.#fds) close(fd)
    for (const { fds } of this.#outgoing) for (const fd of fds) close(fd)
    this.#fds = []
    this.#outgoing = []
    close(this.#fd)
  }

  /** @returns whether a whole message was there */
  #readMessage(): boolean {
    if (this.#have < HEADER_LENGTH && !this.#fill(HEADER_LENGTH)) return false
    const header = new DataView(this.#incoming.buffer)
    const flags = header.getUint32(4, true)
    const length = header.getUint32(8, true)
    if ((flags & VhostUser.VERSION_MASK) !== VhostUser.VERSION) return this.#end(`a message with flags ${flags}`)
    if (length > MAX_PAYLOAD) return this.#end(`a message with a payload of ${length} bytes`)
    if (!this.#fill(HEADER_LENGTH + length)) return false
    const fds = this.#fds
    const payload = this.#incoming.slice(HEADER_LENGTH)
    this.#have = 0
    this.#fds = []
    this.#incoming = new Uint8Array(HEADER_LENGTH)
    this.#options.onMessage({ request: header.getUint32(0, true), flags, payload, fds })
    return true
  }

  /** Reads until so many bytes of the message are there, and not one more: descriptors belong to the bytes they came with. */
  #fill(length: number): boolean {
    if (this.#incoming.length < length) {
      const longer = new Uint8Array(length)
      longer.set(this.#incoming)
      this.#incoming = longer
    }
    while (this.#have < length) {
      const left = (this.#options.closeAfterReading ?? Number.POSITIVE_INFINITY) - this.#read
      if (left <= 0) return this.#end('enough was read')
      let part: ReturnType<typeof receiveWithFds>
      try {
        part = receiveWithFds(this.#fd, Math.min(length - this.#have, left), MAX_FDS)
      } catch (error) {
        return this.#end((error as Error).message)
      }
      if (part === undefined) return false
      this.#fds.push(...part.fds)
      if (part.bytes.length === 0) return this.#end(this.#have > 0 ? 'closed within a message' : 'closed')
      if (this.#fds.length > MAX_FDS) return this.#end(`${this.#fds.length} descriptors with one message`)
      this.#incoming.set(part.bytes, this.#have)
      this.#have += part.bytes.length
      this.#read += part.bytes.length
    }
    return true
  }

  #flush(): void {
    for (let first = this.#outgoing[0]; first && !this.#closed; first = this.#outgoing[0]) {
      const left = (this.#options.closeAfterSending ?? Number.POSITIVE_INFINITY) - this.#sent
      const bytes = first.bytes.subarray(0, Math.max(0, left))
      const count = bytes.length === 0 ? 0 : sendWithFds(this.#fd, bytes, first.fds)
      if (count === -Errno.EAGAIN) return this.#wait()
      if (count < 0) return void this.#end(`the reply could not be sent (error ${-count})`)
      this.#sent += count
      for (const fd of first.fds) close(fd)
      this.#outgoing.shift()
      if (count < first.bytes.length) this.#outgoing.unshift({ bytes: first.bytes.subarray(count), fds: [] })
      if (count >= left) return void this.#end('enough was sent')
    }
  }

  /** There is no room in the socket: looks again after a while, and reads nothing until then. */
  #wait(): void {
    this.#stopWatching?.()
    this.#stopWatching = undefined
    this.#retry = setTimeout(() => {
      this.#flush()
      if (this.#outgoing.length === 0) this.start()
    }, RETRY_MS)
  }

  #end(reason: string): false {
    if (this.#closed) return false
    this.close()
    this.#options.onEnd(reason)
    return false
  }
}
