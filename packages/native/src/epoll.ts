import { Errno } from './errno.ts'
import { close } from './file-descriptor.ts'
import { errno, libc } from './libc.ts'
import { checked, SystemError } from './system-error.ts'

// sys/epoll.h
const EPOLL_CLOEXEC = 0o2000000
const EPOLL_CTL_ADD = 1
const EPOLL_CTL_DEL = 2
const EPOLLIN = 0x1
// struct epoll_event { uint32_t events; uint64_t data; } is packed on x86-64, and on nothing else.
const EVENT_LENGTH: number = process.arch === 'x64' ? 12 : 16
const DATA_OFFSET: number = EVENT_LENGTH - 8
const EVENTS_PER_WAIT = 64

/**
 * Waits for any of several descriptors to become readable, blocking this thread: for a worker that has nothing else to
 * do. On the event loop use `watchReadable`.
 */
export class Epoll {
  readonly #fd: number
  readonly #events: DataView
  readonly #bytes: Uint8Array
  #closed = false

  /** @throws SystemError */
  constructor() {
    this.#fd = checked(libc.epoll_create1(EPOLL_CLOEXEC), 'epoll_create1')
    this.#events = new DataView(new ArrayBuffer(EVENTS_PER_WAIT * EVENT_LENGTH))
    this.#bytes = new Uint8Array(this.#events.buffer)
  }

  /**
   * @param token what `wait` reports for this descriptor: an integer of 32 bits
   * @throws SystemError `EEXIST` when it is there already, `EPERM` for a kind of file that cannot be waited for
   */
  add(fd: number, token: number): void {
    this.#events.setUint32(0, EPOLLIN, true)
    this.#events.setInt32(DATA_OFFSET, token, true)
    this.#events.setInt32(DATA_OFFSET + 4, 0, true)
    checked(libc.epoll_ctl(this.#open(), EPOLL_CTL_ADD, fd, this.#bytes), 'epoll_ctl(ADD)', `descriptor ${fd}`)
  }

  /** @throws SystemError `ENOENT` when it is not there */
  remove(fd: number): void {
    checked(libc.epoll_ctl(this.#open(), EPOLL_CTL_DEL, fd, this.#bytes), 'epoll_ctl(DEL)', `descriptor ${fd}`)
  }

  /**
   * @param timeoutMs -1 waits without end, 0 only looks
   * @param tokens receives the tokens of descriptors that are readable or in error, at most 64 a call
   * @returns how many; 0 when the time is up, or a signal came in between
   * @throws SystemError
   */
  wait(timeoutMs: number, tokens: Int32Array): number {
    const capacity = Math.min(tokens.length, EVENTS_PER_WAIT)
    const count = libc.epoll_wait(this.#open(), this.#bytes, capacity, timeoutMs)
    if (count < 0) {
      const error = errno()
      if (error === Errno.EINTR) return 0
      throw new SystemError('epoll_wait', error)
    }
    for (let i = 0; i < count; i++) tokens[i] = this.#events.getInt32(i * EVENT_LENGTH + DATA_OFFSET, true)
    return count
  }

  /** Idempotent. The descriptors added stay open. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    close(this.#fd)
  }

  #open(): number {
    // Another file may have got the number since.
    if (this.#closed) throw new SystemError('epoll', Errno.EBADF, 'after close')
    return this.#fd
  }
}
