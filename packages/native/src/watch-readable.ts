import { Epoll } from './epoll.ts'
import { close, duplicate } from './file-descriptor.ts'
import { pollHandle } from './libc.ts'
import { PollEvent, poll } from './poll.ts'

export interface WatchOptions {
  /** Whether the watch keeps the process alive; true when left out. */
  readonly keepAlive?: boolean
}

/**
 * Calls `listener` on the event loop whenever `fd` is readable, has been hung up, or is in error; again and again until
 * it is no longer so (level-triggered): the listener reads until EAGAIN. While watched, `fd` keeps the process alive
 * (unless told otherwise) and is non-blocking. No thread waits, so nothing holds up `process.exit()`.
 *
 * A descriptor whose error condition outlasts the listener (a TAP interface that was deleted) is watched no longer:
 * reading it tells what has happened.
 *
 * A worker that watches ends in order, when nothing keeps it any more; one that is terminated in the middle of its work may take the
 * process down with it: see `exitNow`.
 *
 * The file stays open until the watch is stopped, even if `fd` is closed first: stop, then close.
 *
 * @returns stops watching; idempotent; the listener is not called again, even if it is due
 * @throws SystemError `EBADF`, or `EPERM` for a kind of file that cannot be watched (an ordinary one)
 */
export function watchReadable(fd: number, listener: () => void, options: WatchOptions = {}): () => void {
  refuseUnwatchable(fd)
  // libuv knows one watcher a descriptor number, and must not find a number reused that was closed behind its back:
  // it gets one of its own.
  const watched = duplicate(fd)
  let stopped = false
  let due = false
  let failed = false

  const run = (): void => {
    due = false
    if (stopped) return
    try {
      listener()
    } finally {
      // libuv has stopped the handle for good; only a condition that reading has cleared deserves another start.
      if (failed && !stopped && (poll(watched, PollEvent.IN, 0) & PollEvent.ERR) === 0) {
        failed = false
        handle.start({ readable: true }, onEvent)
      }
    }
  }
  // koffi calls back from C and drops what the callback throws. setImmediate runs the listener in the same turn of the
  // loop, as Node's own callbacks are run: an exception is an uncaught one, ticks and promises follow.
  const onEvent = (status: number): void => {
    if (status < 0) failed = true
    if (due || stopped) return
    due = true
    setImmediate(run)
  }
  // koffi closes a handle that is garbage. This one is not while it is open: koffi holds the callback, which holds the handle.
  const handle = pollHandle(watched, onEvent)
  if (options.keepAlive === false) handle.unref()

  return () => {
    if (stopped) return
    stopped = true
    handle.close()
    close(watched)
  }
}

/** epoll says why a descriptor cannot be watched; libuv, asked directly, would take the process down. */
function refuseUnwatchable(fd: number): void {
  const probe = new Epoll()
  try {
    probe.add(fd, 0)
  } finally {
    probe.close()
  }
}
