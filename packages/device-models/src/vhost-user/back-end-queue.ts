import { close, Errno, read, setBlocking, watchReadable, write } from '@virtio-ts/native'

/** Where a front-end has the parts of a ring: addresses in its own address space. */
export interface UserRingAddresses {
  readonly descriptorArea: bigint
  readonly driverArea: bigint
  readonly deviceArea: bigint
}

const POLL_MS = 1
const ONE = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)
/** An eventfd gives 8 bytes; a pipe, which the protocol allows in its place, may hold one notification after another. */
const drained = new Uint8Array(512)

/** What a front-end has said about one virtqueue, and the descriptors for its notifications. */
export class BackEndQueue {
  readonly index: number
  size: number | undefined
  addresses: UserRingAddresses | undefined
  /** As SET_VRING_BASE has it. */
  base: number | undefined
  /** The front-end has notified it since it was stopped last. */
  started = false
  enabled = false
  readonly #notified: () => void
  #notifyFd: number | undefined
  #stopWatching: (() => void) | undefined
  #poll: NodeJS.Timeout | undefined
  #usedFd: number | undefined
  #errorFd: number | undefined

  /** @param notified called when the front-end notifies, or when it is time to look */
  constructor(index: number, notified: () => void) {
    this.index = index
    this.#notified = notified
  }

  /** Whether anything can notify: a descriptor, or the time for another look. */
  get listening(): boolean {
    return this.#notifyFd !== undefined || this.#poll !== undefined
  }

  get hasUsedFd(): boolean {
    return this.#usedFd !== undefined
  }

  get hasErrorFd(): boolean {
    return this.#errorFd !== undefined
  }

  /**
   * Takes on the descriptor for available buffer notifications; undefined: the front-end sends none, and the ring is looked at.
   * @throws SystemError when it cannot be watched; it is the caller's then
   */
  setNotifyFd(fd: number | undefined): void {
    this.dropNotifyFd()
    if (fd === undefined) {
      this.#poll = setInterval(this.#notified, POLL_MS)
      return
    }
    this.#stopWatching = watchReadable(fd, () => this.#drain(fd))
    this.#notifyFd = fd
  }

  /** No more notifications: until there is another descriptor nothing starts the ring. */
  dropNotifyFd(): void {
    clearInterval(this.#poll)
    this.#poll = undefined
    this.#stopWatching?.()
    this.#stopWatching = undefined
    if (this.#notifyFd !== undefined) close(this.#notifyFd)
    this.#notifyFd = undefined
  }

  /** Takes on the descriptor for used buffer notifications. */
  setUsedFd(fd: number | undefined): void {
    if (this.#usedFd !== undefined) close(this.#usedFd)
    this.#usedFd = unblocked(fd)
  }

  /** Takes on the descriptor for errors. */
  setErrorFd(fd: number | undefined): void {
    if (this.#errorFd !== undefined) close(this.#errorFd)
    this.#errorFd = unblocked(fd)
  }

  signalUsed(): void {
    if (this.#usedFd !== undefined) write(this.#usedFd, ONE)
  }

  signalError(): void {
    if (this.#errorFd !== undefined) write(this.#errorFd, ONE)
  }

  /** Back to how it was before any message, but for the descriptors that belong to the connection. */
  reset(): void {
    this.size = undefined
    this.addresses = undefined
    this.base = undefined
    this.started = false
    this.enabled = false
    this.dropNotifyFd()
  }

  close(): void {
    this.reset()
    this.setUsedFd(undefined)
    this.setErrorFd(undefined)
  }

  #drain(fd: number): void {
    const count = read(fd, drained)
    if (count > 0) this.#notified()
    // The other end is gone or was none: it would be readable for ever.
    else if (count !== -Errno.EAGAIN) this.dropNotifyFd()
  }
}

/** A descriptor that is full must not hold up the device: whoever does not read has been told already. */
function unblocked(fd: number | undefined): number | undefined {
  if (fd !== undefined) setBlocking(fd, false)
  return fd
}
