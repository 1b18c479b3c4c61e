import { close, type IoVector, ioctl } from '@virtio-ts/native'
import { TunRequest } from './if-tun.ts'
import { InterfaceRequest } from './interface-request.ts'
import { LinkEvents, type TapState } from './link-events.ts'
import { NetworkInterface } from './network-interface.ts'
import { attachTap, busyError } from './tap-attach.ts'
import { explained, TapError } from './tap-error.ts'
import { holderOf } from './tap-holder.ts'
import { checkTapName } from './tap-name.ts'
import { offloadBits, type TapOffloads } from './tap-offloads.ts'
import { TapQueue } from './tap-queue.ts'

/** Length of struct virtio_net_hdr with num_buffers. @see VIRTIO 1.3 § 5.1.6 "Device Operation" */
const VNET_HEADER_LENGTH = 12
/** MAX_TAP_QUEUES of the kernel's driver. */
const MAX_QUEUES = 256

/** Bytes that hold whatever a TAP may be read: header, Ethernet header, VLAN tag, and the longest IP packet. */
export const MAX_TAP_READ: number = VNET_HEADER_LENGTH + 14 + 4 + 65535

export interface TapOptions {
  /** Up to 15 bytes; `%d` in it stands for the first free number. `tap%d` when left out. */
  readonly name?: string
  /** Whether each frame has a virtio-net header of 12 bytes in front; true when left out. */
  readonly vnetHeader?: boolean
  /** 1 to 256; 1 when left out. */
  readonly queues?: number
  /** Whether the interface outlives this object; when left out it stays as it was, and a new one does not. */
  readonly persist?: boolean
  /** The device file, `/dev/net/tun` when left out. */
  readonly path?: string
}

/**
 * A network interface of Linux whose wire ends in this process: what the kernel sends can be read, and what is written
 * the kernel receives. It is made down; offloads are off, the carrier is on.
 *
 * Every method throws `TapError`: `tap.gone` when somebody has deleted the interface, `tap.closed` after `close`,
 * `tap.permission` without CAP_NET_ADMIN. `read` and `write` return error numbers instead.
 */
export class Tap {
  readonly queues: readonly TapQueue[]
  /** Bytes in front of each frame: 12, or 0 without `vnetHeader`. */
  readonly headerLength: number
  readonly #interface: NetworkInterface
  readonly #events: LinkEvents
  #name: string
  #closed = false

  /**
   * Attaches to the interface of that name, or makes it.
   *
   * @throws TapError `tap.no-device-node`, `tap.permission`, `tap.busy`, `tap.name-invalid`, `tap.mismatch`,
   * `tap.header-mismatch`
   */
  static open(options: TapOptions = {}): Tap {
    const { name = '', vnetHeader = true, queues = 1, path = '/dev/net/tun' } = options
    if (options.name !== undefined) checkTapName(options.name)
    if (!Number.isInteger(queues) || queues < 1 || queues > MAX_QUEUES) {
      throw new RangeError(`a TAP has 1 to ${MAX_QUEUES} queues, not ${queues}`)
    }
    const attach = { path, vnetHeader, multiQueue: queues > 1 }
    // The kernel lets several processes share an interface of several queues: each would get part of the frames.
    if (queues > 1 && holderOf(name) !== undefined) throw busyError(name)
    const fds = [attachTap({ ...attach, name })]
    try {
      const actualName = currentName(fds[0] as number, name)
      while (fds.length < queues) fds.push(attachTap({ ...attach, name: actualName }))
      return new Tap(fds, actualName, vnetHeader, options.persist)
    } catch (error) {
      for (const fd of fds) close(fd)
      throw error
    }
  }

  private constructor(fds: readonly number[], name: string, vnetHeader: boolean, persist: boolean | undefined) {
    this.#name = name
    this.headerLength = vnetHeader ? VNET_HEADER_LENGTH : 0
    this.queues = fds.map((fd) => new TapQueue(fd, () => this.#events.reportGone()))
    if (vnetHeader) {
      this.#tun('set the header length of', TunRequest.SETVNETHDRSZ, VNET_HEADER_LENGTH)
      this.#tun('set the byte order of', TunRequest.SETVNETLE, 1)
    }
    // The last user of an interface that stays may have left some on.
    this.setOffloads({})
    this.verifyHeader()
    if (persist !== undefined) this.setPersist(persist)
    this.#interface = new NetworkInterface(() => this.name)
    try {
      this.#events = new LinkEvents(this.#first.fd, () => this.#readState())
    } catch (error) {
      this.#interface.close()
      throw error
    }
  }

  /** As it is now: anybody may rename an interface. */
  get name(): string {
    this.#name = currentName(this.#open(), this.#name)
    return this.#name
  }

  /** The kernel's number for the interface. */
  get index(): number {
    return this.#settings().index
  }

  /** A copy of 6 bytes. */
  get mac(): Uint8Array {
    return this.#settings().mac
  }

  /** @throws TapError `tap.value-invalid` */
  setMac(mac: Uint8Array): void {
    this.#settings().setMac(mac)
  }

  get mtu(): number {
    return this.#settings().mtu
  }

  /** @throws TapError `tap.value-invalid` */
  setMtu(mtu: number): void {
    this.#settings().setMtu(mtu)
  }

  /** Whether the administrator has it switched on: while it is not, writing gives EIO. */
  get up(): boolean {
    return this.#settings().up
  }

  setUp(up: boolean): void {
    this.#settings().setUp(up)
  }

  /** Whether the link is there; false while the interface is down. */
  get carrier(): boolean {
    return this.#settings().carrier
  }

  /** Tells the kernel whether there is a link. */
  setCarrier(up: boolean): void {
    this.#tun('set the carrier of', TunRequest.SETCARRIER, up ? 1 : 0)
  }

  /** Frames the kernel keeps for a slow reader of one queue; what comes then is dropped, and the sender not told. */
  get queueLength(): number {
    return this.#settings().queueLength
  }

  /** @throws TapError `tap.value-invalid` */
  setQueueLength(frames: number): void {
    this.#settings().setQueueLength(frames)
  }

  /**
   * Sets what the kernel may leave undone in frames that are read here.
   *
   * @throws TapError `tap.offload-invalid` for a senseless set, `tap.offload-unsupported` when this kernel lacks one
   */
  setOffloads(offloads: TapOffloads): void {
    const bits = offloadBits(offloads)
    const wanted = Object.entries(offloads).flatMap(([name, on]) => (on === true ? [name] : []))
    explained(this.#name, 'set the offloads of', () => ioctl(this.#open(), TunRequest.SETOFFLOAD, bits), {
      EINVAL: [
        'tap.offload-unsupported',
        `this kernel does not have all of ${wanted.join(', ')} for ${this.#name}: ` +
          '`uso` needs Linux 6.2. Leave it out, and do not offer it to the device.',
      ],
    })
  }

  /** Whether the interface stays when this object is closed. */
  setPersist(persist: boolean): void {
    explained(this.#name, 'set the persistence of', () => ioctl(this.#open(), TunRequest.SETPERSIST, persist ? 1 : 0))
  }

  /**
   * Reads back what the kernel takes the header for: with another length it would take the first bytes of each packet for
   * header, or the other way round. Another process that has a queue of this interface can change it.
   *
   * @throws TapError `tap.header-mismatch`
   */
  verifyHeader(): void {
    if (this.headerLength === 0) return
    const length = this.#tun('read the header length of', TunRequest.GETVNETHDRSZ)
    const littleEndian = this.#tun('read the byte order of', TunRequest.GETVNETLE)
    if (length === this.headerLength && littleEndian === 1) return
    throw new TapError(
      'tap.header-mismatch',
      `the kernel has a header of ${length} bytes, ${littleEndian === 1 ? 'little' : 'big'}-endian, on ${this.#name}; ` +
        `here it is ${this.headerLength} bytes, little-endian. Another process has changed it: end that, and open the TAP again.`,
    )
  }

  /** `TapQueue.read` of the first queue. */
  read(into: Uint8Array | IoVector): number {
    return this.#first.read(into)
  }

  /** `TapQueue.write` of the first queue. */
  write(from: Uint8Array | IoVector): number {
    return this.#first.write(from)
  }

  /** `TapQueue.onReadable` of the first queue. */
  onReadable(listener: () => void): () => void {
    this.#open()
    return this.#first.onReadable(listener)
  }

  /** Whether the interface is known to have been deleted. */
  get gone(): boolean {
    return this.#events.gone
  }

  /**
   * Calls `listener` once when the interface is gone; at once if it is. Does not keep the process alive.
   *
   * @returns takes the listener off
   */
  onGone(listener: (reason: TapError) => void): () => void {
    return this.#events.onGone(listener)
  }

  /**
   * Calls `listener` when name, MTU, MAC, carrier or up have changed, whoever did it. Does not keep the process alive.
   *
   * @returns takes the listener off
   */
  onChange(listener: (state: TapState) => void): () => void {
    return this.#events.onChange(listener)
  }

  /** Lets the interface go; it is deleted unless it persists. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#events.close()
    this.#interface.close()
    for (const queue of this.queues) queue.close()
  }

  get #first(): TapQueue {
    return this.queues[0] as TapQueue
  }

  /** The first queue's descriptor. */
  #open(): number {
    if (this.#closed) throw new TapError('tap.closed', `${this.#name} has been closed here: open it again to use it`)
    return this.#first.fd
  }

  #settings(): NetworkInterface {
    this.#open()
    return this.#interface
  }

  /** A request of the TUN driver about an int, which it may write back. */
  #tun(what: string, request: number, value = 0): number {
    const argument = new DataView(new ArrayBuffer(4))
    argument.setInt32(0, value, true)
    explained(this.#name, what, () => ioctl(this.#open(), request, new Uint8Array(argument.buffer)))
    return argument.getInt32(0, true)
  }

  #readState(): TapState {
    const { up, carrier, mtu, mac } = this.#interface
    return { name: this.#name, up, carrier, mtu, mac }
  }
}

/** What the kernel calls the interface now. */
function currentName(fd: number, known: string): string {
  const request = new InterfaceRequest('')
  explained(known, 'read the name of', () => ioctl(fd, TunRequest.GETIFF, request.bytes))
  return request.name
}
