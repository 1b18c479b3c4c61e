import { libc } from './libc.ts'

/**
 * Ends the process where it stands: all threads, nobody asked, nothing flushed, no `exit` listener called. For an `exit` listener of a
 * program whose workers may be anywhere. `process.exit()` joins them, and so hangs with one that is stuck in a system call; and one that
 * is terminated in the middle of its work calls a watch of `watchReadable` once more, on which koffi 3.3.4 aborts the process.
 */
export function exitNow(code: number): never {
  libc._exit(code)
  throw new Error('_exit() has returned')
}
