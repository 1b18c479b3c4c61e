import {
  close,
  Errno,
  openPty,
  PollEvent,
  type Pty,
  poll,
  rawModes,
  read,
  setTerminalModes,
  setWindowSize,
  SystemError,
  type TerminalModes,
  terminalModes,
  type WindowSize,
  watchReadable,
  write,
} from '@virtio-ts/native'
import { Duplex } from 'node:stream'

/** Milliseconds between two looks whether somebody has opened the terminal: nothing tells of that. */
const OPEN_INTERVAL = 50
/** Milliseconds until a full terminal is tried again, doubled each time up to the last. */
const FULL_INTERVALS = { first: 1, last: 32 } as const
const CHUNK = 65536

/**
 * A new terminal as a stream: what is written to it, programs that open the terminal read, and the other way round. Programs may come and
 * go. While nobody has the terminal open, writes wait. Its modes are raw, and are again when the last program has left.
 *
 * Events beside those of a stream: `opened`, `left`; of a visit of less than 50 ms there may be none.
 */
export class PtyStream extends Duplex {
  /** `/dev/pts/3` */
  readonly path: string
  readonly #pty: Pty
  readonly #modes: TerminalModes
  readonly #chunk: Buffer = Buffer.allocUnsafe(CHUNK)
  #stopWatching: (() => void) | undefined
  #openTimer: NodeJS.Timeout | undefined
  #fullTimer: NodeJS.Timeout | undefined
  #fullInterval: number = FULL_INTERVALS.first
  #wanted = false
  #inUse = false
  #pending: { readonly bytes: Buffer; done: number; readonly whenWritten: () => void } | undefined

  /** @throws SystemError when there is no terminal to be had */
  constructor() {
    super({ allowHalfOpen: true })
    this.#pty = openPty()
    this.path = this.#pty.path
    this.#modes = rawModes(terminalModes(this.#pty.fd) as TerminalModes)
    setTerminalModes(this.#pty.fd, this.#modes)
    this.#lookLater()
  }

  /** Whether somebody has the terminal open, as far as is known. */
  get inUse(): boolean {
    return this.#inUse
  }

  /** Programs that have the terminal open are told. */
  resize(size: WindowSize): void {
    if (!this.destroyed) setWindowSize(this.#pty.fd, size)
  }

  override _read(): void {
    this.#wanted = true
    if (this.#inUse) this.#receive()
  }

  override _write(bytes: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#pending = { bytes, done: 0, whenWritten: done }
    if (this.#inUse) this.#transmit()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#unwatch()
    clearInterval(this.#openTimer)
    clearTimeout(this.#fullTimer)
    this.#pending = undefined
    close(this.#pty.fd)
    callback(error)
  }

  #lookLater(): void {
    this.#openTimer = setInterval(() => this.#look(), OPEN_INTERVAL)
  }

  /** Whether somebody has opened the terminal, or has been there between two looks. */
  #look(): void {
    const events = poll(this.#pty.fd, PollEvent.IN, 0)
    if ((events & PollEvent.HUP) === 0) {
      clearInterval(this.#openTimer)
      this.#inUse = true
      this.emit('opened')
      this.#transmit()
    } else if ((events & PollEvent.IN) === 0) return this.#tidy()
    if (this.#wanted) this.#receive()
  }

  /** The next one finds the terminal as it was at first, and what arrives until then is not echoed. */
  #tidy(): void {
    const modes = terminalModes(this.#pty.fd)
    if (modes && Buffer.compare(modes, this.#modes) !== 0) setTerminalModes(this.#pty.fd, this.#modes)
  }

  #left(): void {
    this.#unwatch()
    if (!this.#inUse || this.destroyed) return
    this.#inUse = false
    clearTimeout(this.#fullTimer)
    this.#tidy()
    this.emit('left')
    this.#lookLater()
  }

  #receive(): void {
    while (this.#wanted && !this.destroyed) {
      const count = read(this.#pty.fd, this.#chunk)
      if (count === -Errno.EAGAIN) return this.#watch()
      if (count === -Errno.EIO) return this.#left()
      if (count <= 0) return void this.destroy(failure('read', count, this.path))
      // A copy: the chunk is used again.
      this.#wanted = this.push(Buffer.from(this.#chunk.subarray(0, count)))
    }
    // Level-triggered: it would be told again and again.
    this.#unwatch()
  }

  #watch(): void {
    this.#stopWatching ??= watchReadable(this.#pty.fd, () => this.#receive())
  }

  #unwatch(): void {
    this.#stopWatching?.()
    this.#stopWatching = undefined
  }

  #transmit(): void {
    const pending = this.#pending
    if (!pending || this.destroyed) return
    // Whoever opens the terminal next is not to find what was meant for somebody who has left.
    if ((poll(this.#pty.fd, 0, 0) & PollEvent.HUP) !== 0) return this.#left()
    while (pending.done < pending.bytes.length) {
      const count = write(this.#pty.fd, pending.bytes, pending.done)
      if (count === -Errno.EAGAIN || count === 0) return this.#transmitLater()
      if (count < 0) return void this.destroy(failure('write', count, this.path))
      pending.done += count
      this.#fullInterval = FULL_INTERVALS.first
    }
    this.#pending = undefined
    pending.whenWritten()
  }

  #transmitLater(): void {
    this.#fullTimer = setTimeout(() => this.#transmit(), this.#fullInterval)
    this.#fullInterval = Math.min(2 * this.#fullInterval, FULL_INTERVALS.last)
  }
}

function failure(call: string, result: number, path: string): Error {
  return result === 0 ? new Error(`${path} has ended`) : new SystemError(call, -result, path)
}
