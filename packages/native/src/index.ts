/**
 * Typed Linux system calls. Nothing here knows about virtio. Data calls (`read`, `write`, `IoVector`) return bytes moved or
 * the error number negated; all others throw `SystemError`. Descriptors are plain numbers, close-on-exec, and belong to
 * whoever got them.
 * @packageDocumentation
 */
export { Epoll } from './epoll.ts'
export { Errno } from './errno.ts'
export { eventfd } from './eventfd.ts'
export { exitNow } from './exit-now.ts'
export { receiveWithFds, sendWithFds } from './fd-passing.ts'
export {
  close,
  duplicate,
  open,
  openFdCount,
  read,
  readAt,
  setBlocking,
  write,
  writeAt,
} from './file-descriptor.ts'
export { lockFile } from './file-lock.ts'
export { IoVector } from './io-vector.ts'
export { ioctl } from './ioctl.ts'
export { mapPages } from './map-pages.ts'
export { addressOf, type Mapping, mapShared } from './mapping.ts'
export { memfdCreate, preallocate, sealAgainstResize, truncate } from './memfd.ts'
export { enterNewNetworkNamespace } from './namespace.ts'
export { pageLength } from './page-length.ts'
export { NotifySocket } from './notify-socket.ts'
export { PollEvent, poll } from './poll.ts'
export {
  AddressFamily,
  acceptUnix,
  bindSocket,
  connectUnix,
  listenUnix,
  SocketType,
  socket,
  socketPair,
} from './socket.ts'
export { errnoName, SystemError } from './system-error.ts'
export { type WatchOptions, watchReadable } from './watch-readable.ts'
