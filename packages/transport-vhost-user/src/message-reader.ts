import { close, receiveWithFds } from '@virtio-ts/native'
import { VhostUser } from '@virtio-ts/spec'
import { decodeHeader, type MessageHeader } from './messages.ts'

/** Bytes of payload at most: no message of the protocol comes near. */
export const MAX_PAYLOAD = 4096
/** As many as a message can carry: what was not asked for is taken too, and closed. */
const MAX_FDS = 253

/** A message with the descriptors that came with it, which are the receiver's to close. */
export interface ReceivedMessage extends MessageHeader {
  readonly payload: Uint8Array
  readonly fds: readonly number[]
}

/**
 * Cuts a stream into messages. It reads no byte beyond the message it is at, holds no more than `MAX_PAYLOAD` bytes of it, and keeps no
 * descriptor that nobody wants.
 */
export class MessageReader {
  readonly #fd: number
  readonly #header: Uint8Array = new Uint8Array(VhostUser.HEADER_LENGTH)
  #payload: Uint8Array | undefined
  #filled = 0
  #fds: number[] = []

  /** @param fd a non-blocking socket, which stays its owner's */
  constructor(fd: number) {
    this.#fd = fd
  }

  /**
   * @param accept looks at each header before its payload is read; says how many descriptors are wanted with it, or throws
   * @param wanted descriptors that may come with the header already
   * @returns the next message; undefined when the rest of it has not come yet; `'end'` at the end of the stream
   * @throws what `accept` throws; SystemError of the socket; RangeError for a payload longer than `MAX_PAYLOAD`
   */
  next(accept: (header: MessageHeader) => void, wanted: number): ReceivedMessage | undefined | 'end' {
    for (;;) {
      const target = this.#payload ?? this.#header
      const missing = target.length - this.#filled
      if (missing > 0) {
        const received = receiveWithFds(this.#fd, missing, MAX_FDS)
        if (received === undefined) return undefined
        this.#keep(received.fds, wanted)
        if (received.bytes.length === 0) return 'end'
        target.set(received.bytes, this.#filled)
        this.#filled += received.bytes.length
        continue
      }
      const header = decodeHeader(this.#header)
      if (this.#payload !== undefined) return this.#take(header, this.#payload)
      if (header.size > MAX_PAYLOAD) throw new RangeError(`a payload of ${header.size} bytes`)
      accept(header)
      this.#payload = new Uint8Array(header.size)
      this.#filled = 0
    }
  }

  /** Closes descriptors of a message that did not get complete. */
  discard(): void {
    for (const fd of this.#fds.splice(0)) close(fd)
  }

  #take(header: MessageHeader, payload: Uint8Array): ReceivedMessage {
    const fds = this.#fds
    this.#fds = []
    this.#payload = undefined
    this.#filled = 0
    return { ...header, payload, fds }
  }

  #keep(fds: readonly number[], wanted: number): void {
    for (const fd of fds) {
      if (this.#fds.length < wanted) this.#fds.push(fd)
      else close(fd)
    }
  }
}
