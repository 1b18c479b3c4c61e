import { Errno } from './errno.ts'
import { close, write } from './file-descriptor.ts'
import { libc } from './libc.ts'
import { PollEvent, poll } from './poll.ts'
import { AddressFamily, SocketType, socket } from './socket.ts'

// struct sockaddr_un: 16 bits of family, then 108 bytes of name
const NAME_OFFSET = 2
const NAME_CAPACITY = 108
/** How long a service manager that is busy may take to make room for one message, in milliseconds. */
const PATIENCE = 100

/**
 * The service manager's ear (sd_notify): a datagram socket that takes lines such as `READY=1`, `STATUS=text`, `WATCHDOG=1` and
 * `STOPPING=1`. Without a service manager everything here does nothing; nothing here throws, as a service that cannot say how it is
 * should go on all the same.
 */
export class NotifySocket {
  /** The name as the kernel takes it, or undefined where there is nobody to tell. */
  readonly #address: Uint8Array | undefined

  /** @param name of a socket: a path, or `@` and a name in the abstract namespace. Anything else is nobody's. */
  constructor(name: string | undefined) {
    this.#address = name === undefined ? undefined : addressOfName(name)
  }

  /** The socket that `NOTIFY_SOCKET` names. */
  static fromEnvironment(env: Readonly<Record<string, string | undefined>> = process.env): NotifySocket {
    return new NotifySocket(env['NOTIFY_SOCKET'])
  }

  /** Whether there is a service manager to tell. */
  get present(): boolean {
    return this.#address !== undefined
  }

  /**
   * Sends one message.
   * @param state assignments, one a line: `READY=1\nSTATUS=running`
   * @returns whether it was taken
   */
  send(state: string): boolean {
    if (this.#address === undefined) return false
    try {
      return sendTo(this.#address, new TextEncoder().encode(state))
    } catch {
      // No descriptor left, or a system without such sockets.
      return false
    }
  }
}

/** A socket a message: a service manager that was started anew listens on a new socket of the same name. */
function sendTo(address: Uint8Array, message: Uint8Array): boolean {
  const fd = socket(AddressFamily.UNIX, SocketType.DATAGRAM)
  try {
    if (libc.connect(fd, address, address.length) < 0) return false
    let sent = write(fd, message)
    if (sent === -Errno.EAGAIN && poll(fd, PollEvent.OUT, PATIENCE) !== 0) sent = write(fd, message)
    return sent === message.length
  } finally {
    close(fd)
  }
}

function addressOfName(name: string): Uint8Array | undefined {
  const bytes = new TextEncoder().encode(name)
  const isAbstract = name.startsWith('@')
  // A path ends with a zero byte; an abstract name begins with one, and ends where the address does.
  if (!(isAbstract || name.startsWith('/')) || bytes.includes(0) || bytes.length < 2) return undefined
  if (bytes.length > (isAbstract ? NAME_CAPACITY : NAME_CAPACITY - 1)) return undefined
  const address = new Uint8Array(NAME_OFFSET + bytes.length + (isAbstract ? 0 : 1))
  address[0] = AddressFamily.UNIX
  address.set(bytes, NAME_OFFSET)
  if (isAbstract) address[NAME_OFFSET] = 0
  return address
}
