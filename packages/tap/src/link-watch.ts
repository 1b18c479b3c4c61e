import { AddressFamily, bindSocket, close, read, SocketType, socket, watchReadable } from '@virtio-ts/native'

// linux/netlink.h, linux/rtnetlink.h
const NETLINK_ROUTE = 0
const RTMGRP_LINK = 1

/**
 * Calls `listener` when an interface of this network namespace was made, changed or deleted; bursts coalesce. What it was
 * is for the listener to look up: a message may be lost in a burst, and the state as it is now says more than its history.
 * Does not keep the process alive.
 *
 * @returns stops watching; idempotent
 */
export function watchLinks(listener: () => void): () => void {
  const fd = socket(AddressFamily.NETLINK, SocketType.RAW, NETLINK_ROUTE)
  let stopWatch: () => void
  try {
    // struct sockaddr_nl: family (16 bits), padding (16), port (32, 0: the kernel chooses), groups (32)
    const address = Uint32Array.of(AddressFamily.NETLINK, 0, RTMGRP_LINK)
    bindSocket(fd, new Uint8Array(address.buffer))
    stopWatch = watchReadable(
      fd,
      () => {
        drain(fd)
        listener()
      },
      { keepAlive: false },
    )
  } catch (error) {
    close(fd)
    throw error
  }
  let stopped = false
  return () => {
    if (stopped) return
    stopped = true
    stopWatch()
    close(fd)
  }
}

/** A message that does not fit is cut off, which is all right: nobody reads them. */
const message = new Uint8Array(64)

/** After ENOBUFS (messages were lost) there may be more: the watch calls again. */
function drain(fd: number): void {
  while (read(fd, message) > 0);
}
