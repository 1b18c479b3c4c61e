import { lstatSync, unlinkSync } from 'node:fs'
import { acceptUnix, close, connectUnix, listenUnix, SystemError, watchReadable } from '@virtio-ts/native'
import { VirtioError } from '@virtio-ts/spec'

/** A socket that back-ends connect to. */
export class ListeningSocket {
  readonly #path: string
  readonly #fd: number
  /** Whose file it is: somebody may have put another one there since. */
  readonly #inode: number

  /** @throws VirtioError `vhost-user.address-in-use` when somebody listens there, or something other than a socket is there */
  constructor(path: string) {
    removeStale(path)
    this.#path = path
    try {
      this.#fd = listenUnix(path)
    } catch (error) {
      if (error instanceof SystemError && error.code === 'EADDRINUSE') throw inUse(path, error)
      throw error
    }
    this.#inode = lstatSync(path).ino
  }

  /**
   * Waits for the next back-end.
   * @returns a connected socket, the caller's to close
   * @throws the signal's reason
   */
  accept(signal: AbortSignal): Promise<number> {
    return new Promise((resolve, reject) => {
      const finish = (end: () => void): void => {
        stop()
        signal.removeEventListener('abort', onAbort)
        end()
      }
      const onAbort = (): void => finish(() => reject(signal.reason))
      const stop = watchReadable(this.#fd, () => {
        try {
          const fd = acceptUnix(this.#fd)
          if (fd !== undefined) finish(() => resolve(fd))
        } catch (error) {
          finish(() => reject(error))
        }
      })
      signal.addEventListener('abort', onAbort)
      if (signal.aborted) onAbort()
    })
  }

  /** Removes the file, if it is still this socket's. Call once. */
  close(): void {
    close(this.#fd)
    if (statOf(this.#path)?.ino === this.#inode) unlinkSync(this.#path)
  }
}

/** A socket file that nobody listens on any more is in the way, and of no use to anyone. */
function removeStale(path: string): void {
  const file = statOf(path)
  if (file === undefined) return
  if (!file.isSocket()) throw inUse(path, new Error('it is no socket'))
  try {
    close(connectUnix(path))
  } catch (error) {
    if (error instanceof SystemError && error.code === 'ECONNREFUSED') return unlinkSync(path)
    if (error instanceof SystemError && error.code === 'EAGAIN') throw inUse(path, error)
    throw error
  }
  throw inUse(path, new Error('a process listens there'))
}

function statOf(path: string): ReturnType<typeof lstatSync> | undefined {
  return lstatSync(path, { throwIfNoEntry: false })
}

function inUse(path: string, cause: Error): VirtioError {
  return new VirtioError(
    'vhost-user.address-in-use',
    `${path} cannot be listened on: ${cause.message}; choose another path, or end whoever uses it`,
    { device: path, cause },
  )
}
