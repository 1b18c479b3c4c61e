import { AddressFamily, addressOf, close, ioctl, SocketType, socket } from '@virtio-ts/native'
import { InterfaceRequest } from './interface-request.ts'
import { explained, type TapErrorMeanings } from './tap-error.ts'

/** Requests about network interfaces (linux/sockios.h). */
const SIOCGIFFLAGS = 0x8913
const SIOCSIFFLAGS = 0x8914
const SIOCGIFMTU = 0x8921
const SIOCSIFMTU = 0x8922
const SIOCSIFHWADDR = 0x8924
const SIOCGIFHWADDR = 0x8927
const SIOCGIFINDEX = 0x8933
const SIOCGIFTXQLEN = 0x8942
const SIOCSIFTXQLEN = 0x8943
const SIOCETHTOOL = 0x8946

// linux/if.h, linux/if_arp.h, linux/ethtool.h
const IFF_UP = 0x1
const ARPHRD_ETHER = 1
const ETHTOOL_GLINK = 0x0a

const MAC_LENGTH = 6

/**
 * The settings of an interface that every kind of interface has. The kernel finds it by name, in the network namespace
 * where this object was made; the name is asked for each time, because anybody may rename it.
 */
export class NetworkInterface {
  readonly #nameNow: () => string
  readonly #socket: number

  /** @throws SystemError when there are too many open files */
  constructor(nameNow: () => string) {
    this.#nameNow = nameNow
    this.#socket = socket(AddressFamily.INET, SocketType.DATAGRAM)
  }

  get index(): number {
    return this.#request(SIOCGIFINDEX, 'read the index of').value.getInt32(0, true)
  }

  /** 6 bytes. */
  get mac(): Uint8Array {
    const { value } = this.#request(SIOCGIFHWADDR, 'read the MAC of')
    return new Uint8Array(value.buffer, value.byteOffset + 2, MAC_LENGTH)
  }

  setMac(mac: Uint8Array): void {
    const text = [...mac].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
    const invalid = [
      'tap.value-invalid',
      `'${text}' cannot be the MAC of an interface: it must be 6 bytes, not all zero, with the lowest bit of the first one clear.`,
    ] as const
    this.#request(
      SIOCSIFHWADDR,
      'set the MAC of',
      (value) => {
        value.setUint16(0, ARPHRD_ETHER, true)
        // A wrong length is refused below, as the multicast address that it becomes here.
        new Uint8Array(value.buffer, value.byteOffset + 2).set(mac.length === MAC_LENGTH ? mac : [0xff])
      },
      { EADDRNOTAVAIL: invalid, EINVAL: invalid },
    )
  }

  get mtu(): number {
    return this.#request(SIOCGIFMTU, 'read the MTU of').value.getInt32(0, true)
  }

  setMtu(mtu: number): void {
    this.#request(SIOCSIFMTU, 'set the MTU of', (value) => value.setInt32(0, mtu, true), {
      EINVAL: ['tap.value-invalid', `${mtu} cannot be the MTU of a TAP: 68 to 65521 are possible.`],
    })
  }

  /** Frames the kernel keeps for a slow reader of one queue; what comes then is dropped. */
  get queueLength(): number {
    return this.#request(SIOCGIFTXQLEN, 'read the queue length of').value.getInt32(0, true)
  }

  setQueueLength(frames: number): void {
    this.#request(SIOCSIFTXQLEN, 'set the queue length of', (value) => value.setInt32(0, frames, true), {
      EINVAL: [
        'tap.value-invalid',
        `${frames} cannot be the queue length of a TAP: give a number of frames, 1000 by default.`,
      ],
      ENOMEM: ['tap.value-invalid', `there is not enough memory for a queue of ${frames} frames: 1000 is the default.`],
      EPERM: [
        'tap.permission',
        'may not set the queue length: the kernel wants CAP_NET_ADMIN of the machine, root of a user namespace is not enough. ' +
          `\`ip link set DEV txqueuelen ${frames}\` goes another way and works there.`,
      ],
    })
  }

  get up(): boolean {
    return (this.#flags & IFF_UP) !== 0
  }

  setUp(up: boolean): void {
    const flags = this.#flags
    this.#request(SIOCSIFFLAGS, `take ${up ? 'up' : 'down'}`, (value) =>
      value.setUint16(0, up ? flags | IFF_UP : flags & ~IFF_UP, true),
    )
  }

  get carrier(): boolean {
    // struct ethtool_value { __u32 cmd; __u32 data; }
    const link = Uint32Array.of(ETHTOOL_GLINK, 0)
    this.#request(SIOCETHTOOL, 'read the carrier of', (value) => {
      const address = addressOf(new Uint8Array(link.buffer))
      value.setUint32(0, address, true)
      value.setUint32(4, address / 0x1_0000_0000, true)
    })
    return link[1] === 1
  }

  /** Once. */
  close(): void {
    close(this.#socket)
  }

  get #flags(): number {
    return this.#request(SIOCGIFFLAGS, 'read the flags of').value.getUint16(0, true)
  }

  #request(
    request: number,
    what: string,
    fill: (value: DataView) => void = () => {},
    meanings: TapErrorMeanings = {},
  ): InterfaceRequest {
    const name = this.#nameNow()
    const argument = new InterfaceRequest(name)
    fill(argument.value)
    explained(name, what, () => ioctl(this.#socket, request, argument.bytes), meanings)
    return argument
  }
}
