import { Socket } from 'node:net'
import { close, socketPair } from '@virtio-ts/native'
import { QemuError } from './qemu-error.ts'

const HEADER_LENGTH = 4
/** Longest frame QEMU's stream back-end sends or takes: 64 KiB and a little. */
const LONGEST_FRAME: number = 4096 + 65536

/**
 * The other end of a network card's cable, inside this process: hand it to `QemuBenchOptions.netdevs`, name its id in a device's
 * `netdev=`, and exchange Ethernet frames with it. Ends with the bench that it was given to.
 */
export class StreamPeer {
  /** The netdev's id. */
  readonly id: string
  readonly #socket: Socket
  #childFd: number | undefined
  #frameListener: (frame: Uint8Array) => void = () => {}
  #closeListener: (reason: Error | undefined) => void = () => {}
  /** What has arrived of the next header and frame. */
  #pending: Buffer = Buffer.alloc(0)
  #reason: Error | undefined
  #closed = false

  /** @param id for the netdev: letters, digits, `-`, `.`, `_` */
  constructor(id: string) {
    if (!/^[a-z][\w.-]*$/i.test(id)) throw new TypeError(`'${id}' is no netdev id: letters, digits, '-', '.', '_'`)
    this.id = id
    const [ours, childFd] = socketPair()
    this.#childFd = childFd
    this.#socket = new Socket({ fd: ours, readable: true, writable: true })
    this.#socket.on('data', (bytes) => this.#receive(bytes))
    this.#socket.on('error', (error) => (this.#reason ??= error))
    this.#socket.on('close', () => this.#end())
  }

  /** Calls `listener` for every frame that the card transmits; the bytes are its to keep. One listener. */
  onFrame(listener: (frame: Uint8Array) => void): void {
    this.#frameListener = listener
  }

  /** Calls `listener` once when the connection has ended, with what ended it if that was not QEMU. One listener. */
  onClose(listener: (reason: Error | undefined) => void): void {
    this.#closeListener = listener
  }

  /**
   * Sends a frame to the card, which drops it when it cannot take it. The bytes are copied.
   * @param frame an Ethernet frame without its check sequence, at most 69632 bytes
   * @returns false when frames pile up because QEMU does not take them: wait for `drained()`
   */
  send(frame: Uint8Array): boolean {
    if (frame.length > LONGEST_FRAME) throw new RangeError(`a frame of ${frame.length} bytes: ${LONGEST_FRAME} at most`)
    if (this.#closed) return false
    const message = Buffer.allocUnsafe(HEADER_LENGTH + frame.length)
    message.writeUInt32BE(frame.length, 0)
    message.set(frame, HEADER_LENGTH)
    return this.#socket.write(message)
  }

  /** Resolves when QEMU has taken what was sent, or the connection has ended. */
  drained(): Promise<void> {
    if (this.#closed || this.#socket.writableLength === 0) return Promise.resolve()
    return new Promise((resolve) => this.#socket.write('', () => resolve()))
  }

  /** Frames are no longer taken from QEMU, whose card then cannot transmit, until `resume`. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Pulls the cable. Idempotent. */
  close(): void {
    this.releaseChildFd()
    this.#socket.destroy()
  }

  /** For the bench: QEMU's end of the connection. @throws QemuError `qemu.closed` when it has been given away already */
  get childFd(): number {
    if (this.#childFd !== undefined) return this.#childFd
    throw new QemuError('qemu.closed', `the stream peer '${this.id}' has been used by a bench before: make a new one`)
  }

  /** For the bench: QEMU has its end, or never will. */
  releaseChildFd(): void {
    if (this.#childFd === undefined) return
    close(this.#childFd)
    this.#childFd = undefined
  }

  #receive(bytes: Buffer): void {
    this.#pending = this.#pending.length === 0 ? bytes : Buffer.concat([this.#pending, bytes])
    for (let frame = this.#takeFrame(); frame !== undefined; frame = this.#takeFrame()) this.#frameListener(frame)
  }

  #takeFrame(): Uint8Array | undefined {
    const data = this.#pending
    if (data.length < HEADER_LENGTH) return undefined
    const end = HEADER_LENGTH + data.readUInt32BE(0)
    if (end > HEADER_LENGTH + LONGEST_FRAME) {
      const message = `QEMU announces a frame of ${end - HEADER_LENGTH} bytes: the stream is out of step`
      this.#reason = new QemuError('qemu.protocol', message)
      this.#pending = Buffer.alloc(0)
      this.#socket.destroy()
      return undefined
    }
    if (data.length < end) return undefined
    this.#pending = data.subarray(end)
    return new Uint8Array(data.buffer, data.byteOffset + HEADER_LENGTH, end - HEADER_LENGTH)
  }

  #end(): void {
    if (this.#closed) return
    this.#closed = true
    this.#pending = Buffer.alloc(0)
    this.#closeListener(this.#reason)
  }
}
