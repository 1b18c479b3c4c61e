import {
  close,
  Errno,
  errnoName,
  eventfd,
  memfdCreate,
  read,
  sendWithFds,
  socketPair,
  truncate,
} from '@virtio-ts/native'
import { QemuError } from './qemu-error.ts'

// ivshmem's server protocol: messages of 8 bytes, little-endian, some with a descriptor.
const PROTOCOL_VERSION = 0
const SHARED_MEMORY = -1
/** The identities of the ivshmem device and of the one other peer there is: us. */
const DEVICE_PEER = 1
const OUR_PEER = 0
const SHARED_MEMORY_LENGTH = 4096
/** Offset in the device's BAR 0 of the register that signals: peer in the upper, vector in the lower half. */
const SIGNAL_REGISTER = 0x0c

/** A vector that MSI-X messages can be aimed at. */
export interface MessageTarget {
  /** Readable once the message has been written. */
  readonly fd: number
  /** MSI-X message data. */
  readonly data: number
}

/**
 * Turns MSI-X messages into signals on descriptors. A message is a 4-byte write by the function to an address of the system bus;
 * aimed at the signal register of QEMU's ivshmem device it makes QEMU write to the eventfd that ivshmem's "server", which
 * is this class, has given it for that vector. No qtest traffic, and no processor, is involved.
 */
export class IvshmemVectors {
  /** QEMU's end of the server's socket; close it once QEMU has it. */
  readonly childFd: number
  readonly #socket: number
  readonly #limit: number
  /** Made so far: their place in this list is their number. QEMU cannot be made to forget one, so they are used again. */
  readonly #targets: MessageTarget[] = []
  #idle: MessageTarget[] = []
  #closed = false
  /** MSI-X message address. Known once the device has been placed. */
  #address = 0

  /** @param limit vectors at most */
  constructor(limit: number) {
    this.#limit = limit
    ;[this.#socket, this.childFd] = socketPair()
    const memory = memfdCreate('virtio-ts-ivshmem')
    try {
      truncate(memory, SHARED_MEMORY_LENGTH)
      // The device reads these when it is made, before QEMU does anything else.
      this.#send(PROTOCOL_VERSION)
      this.#send(DEVICE_PEER)
      this.#send(SHARED_MEMORY, memory)
    } catch (error) {
      close(this.#socket)
      close(this.childFd)
      throw error
    } finally {
      close(memory)
    }
  }

  /** Vectors that `acquire` could give now. */
  get available(): number {
    return this.#closed ? 0 : this.#limit - this.#targets.length + this.#idle.length
  }

  get address(): number {
    return this.#address
  }

  /** @param bar0 bus address of the ivshmem device's BAR 0 */
  place(bar0: number): void {
    this.#address = bar0 + SIGNAL_REGISTER
  }

  /**
   * @param count at most `available`
   * @param roundTrip waits until QEMU has answered once on another channel
   */
  acquire(count: number, roundTrip: () => void): MessageTarget[] {
    if (count > this.available) throw new RangeError(`${count} vectors: there are ${this.available}`)
    const made = count - this.#idle.length
    for (let i = 0; i < made; i++) this.#make(roundTrip)
    // QEMU takes one message in a turn of its main loop, and what arrives in the middle of one in the next; a round trip is
    // a turn at least. After this many it knows all the vectors.
    if (made > 0) for (let i = 0; i < made + 2; i++) roundTrip()
    const acquired = this.#idle.splice(0, count)
    // What a former owner's function signalled late is not for the new one.
    const scratch = new Uint8Array(8)
    for (const { fd } of acquired) read(fd, scratch)
    return acquired
  }

  /** Takes vectors back. Nobody may use their descriptors any more. */
  release(targets: readonly MessageTarget[]): void {
    if (!this.#closed) this.#idle.push(...targets)
  }

  /** Closes all descriptors but `childFd`. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#idle = []
    for (const { fd } of this.#targets) close(fd)
    close(this.#socket)
  }

  #make(roundTrip: () => void): void {
    const fd = eventfd()
    try {
      // QEMU counts: the n-th descriptor that comes for a peer is its vector n - 1.
      this.#send(OUR_PEER, fd, roundTrip)
    } catch (error) {
      close(fd)
      throw error
    }
    const target = { fd, data: (OUR_PEER << 16) | this.#targets.length }
    this.#targets.push(target)
    this.#idle.push(target)
  }

  #send(value: number, fd?: number, roundTrip: () => void = () => {}): void {
    const message = new Uint8Array(8)
    new DataView(message.buffer).setBigInt64(0, BigInt(value), true)
    for (let attempt = 0; ; attempt++) {
      const sent = sendWithFds(this.#socket, message, fd === undefined ? [] : [fd])
      if (sent === message.length) return
      if (sent === -Errno.EAGAIN && attempt < 100) roundTrip()
      else if (sent !== -Errno.EINTR) {
        throw new QemuError(
          'qemu.exited',
          `QEMU's ivshmem device takes no more vectors (${errnoName(sent)}): QEMU has ended`,
        )
      }
    }
  }
}
