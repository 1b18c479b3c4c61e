import { Errno } from './errno.ts'
import { close } from './file-descriptor.ts'
import { errno, libc } from './libc.ts'
import { checked, SystemError } from './system-error.ts'

/** Address families (bits/socket.h, linux/socket.h). */
export const AddressFamily = { UNIX: 1, INET: 2, NETLINK: 16, PACKET: 17 } as const
/** Kinds of socket (bits/socket_type.h). */
export const SocketType = { STREAM: 1, DATAGRAM: 2, RAW: 3, SEQPACKET: 5 } as const

const SOCK_NONBLOCK = 0o4000
const SOCK_CLOEXEC = 0o2000000
const FLAGS: number = SOCK_NONBLOCK | SOCK_CLOEXEC

// struct sockaddr_un: 16 bits of family, then 108 bytes of path with its zero byte
const PATH_OFFSET = 2
const PATH_CAPACITY = 108

/** A socket, non-blocking and not inherited by child processes. @throws SystemError */
export function socket(family: number, type: number, protocol = 0): number {
  return checked(libc.socket(family, type | FLAGS, protocol), 'socket')
}

/** Two connected Unix stream sockets, non-blocking and not inherited by child processes. @throws SystemError */
export function socketPair(): [number, number] {
  const pair = new Int32Array(2)
  checked(libc.socketpair(AddressFamily.UNIX, SocketType.STREAM | FLAGS, 0, new Uint8Array(pair.buffer)), 'socketpair')
  return [pair[0] as number, pair[1] as number]
}

/**
 * Binds a socket to an address.
 *
 * @param address the sockaddr structure of its family
 * @throws SystemError
 */
export function bindSocket(fd: number, address: Uint8Array): void {
  checked(libc.bind(fd, address, address.length), 'bind', `descriptor ${fd}`)
}

/**
 * Connects to a Unix stream socket. @returns a non-blocking descriptor
 * @throws SystemError `ENOENT`, `ECONNREFUSED` (nobody listens), `EACCES`, `EAGAIN` (too many are waiting: try again)
 */
export function connectUnix(path: string): number {
  return withSocket((fd) => {
    const address = unixAddress(path)
    checked(libc.connect(fd, address, address.length), 'connect', path)
  })
}

/**
 * Listens on a Unix stream socket. The file at `path` is made by this call and left behind by `close`: whoever listens
 * removes it.
 * @returns a non-blocking descriptor, readable when there is somebody to `acceptUnix`
 * @throws SystemError `EADDRINUSE` when something is at `path`
 */
export function listenUnix(path: string, backlog = 16): number {
  return withSocket((fd) => {
    const address = unixAddress(path)
    checked(libc.bind(fd, address, address.length), 'bind', path)
    checked(libc.listen(fd, backlog), 'listen', path)
  })
}

/** @returns a non-blocking descriptor, or undefined when nobody is waiting. @throws SystemError */
export function acceptUnix(listening: number): number | undefined {
  const fd = libc.accept4(listening, 0, 0, FLAGS)
  if (fd >= 0) return fd
  const error = errno()
  if (error === Errno.EAGAIN) return undefined
  throw new SystemError('accept4', error, `descriptor ${listening}`)
}

function withSocket(prepare: (fd: number) => void): number {
  const fd = socket(AddressFamily.UNIX, SocketType.STREAM)
  try {
    prepare(fd)
    return fd
  } catch (error) {
    close(fd)
    throw error
  }
}

function unixAddress(path: string): Uint8Array {
  const name = new TextEncoder().encode(path)
  if (name.length === 0 || name.length >= PATH_CAPACITY || name.includes(0)) {
    throw new RangeError(`a socket's path has 1 to ${PATH_CAPACITY - 1} bytes, none of them zero: '${path}' does not`)
  }
  const address = new Uint8Array(PATH_OFFSET + name.length + 1)
  address[0] = AddressFamily.UNIX
  address.set(name, PATH_OFFSET)
  return address
}
