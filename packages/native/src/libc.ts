import koffi from 'koffi'
import { keepKoffiLoaded } from './keep-koffi-loaded.ts'

/** An address in this process: below 2^47 on every Linux this runs on, so it is exact as a number. */
export type Address = number

const library: ReturnType<typeof koffi.load> | undefined = process.platform === 'linux' ? koffi.load(null) : undefined

/**
 * Binds one function of the C library that Node itself is linked with. A symbol that is missing (another system, an old C
 * library) fails when it is called, not when this module is imported: code that never gets there still runs.
 */
function bind<F extends (...args: never[]) => unknown>(name: string, result: string, parameters: string[]): F {
  try {
    if (library === undefined) throw new Error(`${process.platform} is not Linux`)
    return library.func(name, result, parameters) as unknown as F
  } catch (cause) {
    return (() => {
      throw new Error(
        `${name}() is not available: ${(cause as Error).message}. ` +
          'Memory mapping, eventfds and TAP need Linux with glibc 2.27 or musl 1.2 or newer; the in-process device models need none of them.',
        { cause },
      )
    }) as unknown as F
  }
}

type Bytes = Uint8Array

/**
 * The functions of the C library that this package uses. A pointer is either bytes (the call borrows them) or an address
 * as a 64-bit integer. Results are those of C: -1, and `errno()` right after says why. Functions that C declares with
 * `...` (open, fcntl, ioctl) are bound with a fixed last parameter: on 64-bit Linux both are passed alike.
 */
export const libc: {
  readonly close: (fd: number) => number
  readonly open: (path: string, flags: number, mode: number) => number
  readonly read: (fd: number, bytes: Bytes, length: number) => number
  readonly write: (fd: number, bytes: Bytes, length: number) => number
  readonly pread: (fd: number, bytes: Bytes, length: number, offset: number) => number
  readonly pwrite: (fd: number, bytes: Bytes, length: number, offset: number) => number
  readonly readv: (fd: number, vector: Bytes, count: number) => number
  readonly writev: (fd: number, vector: Bytes, count: number) => number
  readonly fcntl: (fd: number, command: number, argument: number) => number
  readonly flock: (fd: number, operation: number) => number
  readonly ftruncate: (fd: number, length: number) => number
  readonly fallocate: (fd: number, mode: number, offset: number, length: number) => number
  readonly memfd_create: (name: string, flags: number) => number
  readonly mmap: (at: Address, length: number, protection: number, flags: number, fd: number, offset: number) => number
  readonly munmap: (at: Address, length: number) => number
  readonly eventfd: (initial: number, flags: number) => number
  readonly epoll_create1: (flags: number) => number
  readonly epoll_ctl: (epoll: number, operation: number, fd: number, event: Bytes) => number
  readonly epoll_wait: (epoll: number, events: Bytes, capacity: number, timeoutMs: number) => number
  readonly poll: (descriptors: Bytes, count: number, timeoutMs: number) => number
  readonly ioctlBytes: (fd: number, request: number, argument: Bytes) => number
  readonly ioctlNumber: (fd: number, request: number, argument: number) => number
  readonly socket: (domain: number, type: number, protocol: number) => number
  readonly socketpair: (domain: number, type: number, protocol: number, pair: Bytes) => number
  readonly bind: (fd: number, address: Bytes, length: number) => number
  readonly listen: (fd: number, backlog: number) => number
  readonly connect: (fd: number, address: Bytes, length: number) => number
  readonly accept4: (fd: number, address: Address, length: Address, flags: number) => number
  readonly sendmsg: (fd: number, message: Bytes, flags: number) => number
  readonly recvmsg: (fd: number, message: Bytes, flags: number) => number
  readonly unshare: (flags: number) => number
  readonly strerror: (errno: number) => string
  readonly _exit: (code: number) => void
} = {
  close: bind('close', 'int', ['int']),
  open: bind('open', 'int', ['str', 'int', 'uint32_t']),
  read: bind('read', 'long', ['int', 'void *', 'size_t']),
  write: bind('write', 'long', ['int', 'void *', 'size_t']),
  pread: bind('pread', 'long', ['int', 'void *', 'size_t', 'int64_t']),
  pwrite: bind('pwrite', 'long', ['int', 'void *', 'size_t', 'int64_t']),
  readv: bind('readv', 'long', ['int', 'void *', 'int']),
  writev: bind('writev', 'long', ['int', 'void *', 'int']),
  fcntl: bind('fcntl', 'int', ['int', 'int', 'long']),
  flock: bind('flock', 'int', ['int', 'int']),
  ftruncate: bind('ftruncate', 'int', ['int', 'int64_t']),
  fallocate: bind('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t']),
  memfd_create: bind('memfd_create', 'int', ['str', 'uint32_t']),
  mmap: bind('mmap', 'int64_t', ['uint64_t', 'size_t', 'int', 'int', 'int', 'int64_t']),
  munmap: bind('munmap', 'int', ['uint64_t', 'size_t']),
  eventfd: bind('eventfd', 'int', ['uint32_t', 'int']),
  epoll_create1: bind('epoll_create1', 'int', ['int']),
  epoll_ctl: bind('epoll_ctl', 'int', ['int', 'int', 'int', 'void *']),
  epoll_wait: bind('epoll_wait', 'int', ['int', 'void *', 'int', 'int']),
  poll: bind('poll', 'int', ['void *', 'unsigned long', 'int']),
  ioctlBytes: bind('ioctl', 'int', ['int', 'unsigned long', 'void *']),
  ioctlNumber: bind('ioctl', 'int', ['int', 'unsigned long', 'long']),
  socket: bind('socket', 'int', ['int', 'int', 'int']),
  socketpair: bind('socketpair', 'int', ['int', 'int', 'int', 'void *']),
  bind: bind('bind', 'int', ['int', 'void *', 'uint32_t']),
  listen: bind('listen', 'int', ['int', 'int']),
  connect: bind('connect', 'int', ['int', 'void *', 'uint32_t']),
  accept4: bind('accept4', 'int', ['int', 'uint64_t', 'uint64_t', 'int']),
  sendmsg: bind('sendmsg', 'long', ['int', 'void *', 'int']),
  recvmsg: bind('recvmsg', 'long', ['int', 'void *', 'int']),
  unshare: bind('unshare', 'int', ['int']),
  strerror: bind('strerror', 'str', ['int']),
  _exit: bind('_exit', 'void', ['int']),
}

if (library !== undefined) keepKoffiLoaded(bind('dlopen', 'void *', ['str', 'int']))

/** The C library's error numbers by name. */
export const errnoByName: Readonly<Record<string, number>> = koffi.os.errno

/** Why the call just made on this thread failed. koffi keeps the value across its own work; ask before any other call. */
export function errno(): number {
  return koffi.errno()
}

/** Address of the first byte. It holds only while the memory stays where it is: see `addressOf`. */
export function pointerTo(bytes: Uint8Array): Address {
  return Number(koffi.address(bytes))
}

/** A view of memory that is not JavaScript's. No copy, no owner: the caller knows how long the memory lives. */
export function viewOf(address: Address, length: number): ArrayBuffer {
  return koffi.view(BigInt(address), length)
}

/** What koffi's event-loop handle offers; it is missing from koffi's manual, so it is written down here. */
export interface PollHandle {
  /** `status` below 0: libuv saw an error condition on the descriptor and has stopped the handle. */
  start(options: { readable: true }, listener: (status: number) => void): void
  /** Stops keeping the process alive. */
  unref(): void
  close(): void
}

/**
 * Watches a descriptor on the event loop. libuv's refusals (a descriptor it already watches, an ordinary file) end in an
 * abort inside koffi 3.3.4, not in an exception: `watchReadable` rules them out first.
 */
export function pollHandle(fd: number, listener: (status: number) => void): PollHandle {
  return koffi.node.poll(fd, { readable: true }, listener as never) as unknown as PollHandle
}
