import { codeOf, CommandError } from '@virtio-ts/command-line'
import { readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { LineSplitter } from './line-splitter.ts'
import { type ControlRequest, type ControlResponse, maxResponseLength, type RunningDescription } from './protocol.ts'
import { runtimeDirectory, socketPath } from './runtime-directory.ts'

/** How long a running netd may take to answer, in milliseconds. Its data plane and its answers share one thread. */
const answerLimit = 5000

/** Names of the netds of this user that may be running: their sockets are there, which is not yet to say that they answer. */
export function sessionNames(directory: string = runtimeDirectory()): string[] {
  try {
    return readdirSync(directory)
      .filter((file) => file.endsWith('.sock') && !file.startsWith('.'))
      .map((file) => file.slice(0, -'.sock'.length))
      .sort()
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw error
  }
}

function noSession(name: string, directory: string, cause: unknown): CommandError {
  const others = sessionNames(directory).filter((other) => other !== name)
  return new CommandError('control.no-session', `no netd named ${name} is running`, {
    why:
      others.length > 0
        ? `there is: ${others.join(', ')}`
        : `there is no netd of this user (sockets are in ${directory}); those of root need sudo`,
    fix: 'netd show lists those running',
    // What the system said adds nothing but the number of an error.
    ...(codeOf(cause) === 'EACCES' || codeOf(cause) === 'EPERM' ? { cause } : {}),
  })
}

/** A connection to one running netd. */
export class ControlClient implements Disposable {
  readonly name: string
  readonly #socket: Socket
  readonly #lines = new LineSplitter(maxResponseLength)
  #waiting: { resolve(line: string): void; reject(error: Error): void } | undefined
  #failure: Error | undefined

  private constructor(name: string, socket: Socket) {
    this.name = name
    this.#socket = socket
    const fail = (cause?: Error) =>
      this.#fail(
        new CommandError('control.ended', `netd ${name} went away`, {
          why: 'the connection to it ended',
          fix: `netd show ${name}`,
          cause,
        }),
      )
    socket.on('error', fail)
    socket.on('close', () => fail())
    socket.on('end', () => fail())
    socket.on('data', this.#onData)
  }

  /**
   * @throws CommandError `control.no-session` when no netd of this name answers, `control.name`
   */
  static connect(name: string, directory: string = runtimeDirectory()): Promise<ControlClient> {
    const path = socketPath(directory, name)
    return new Promise((resolve, reject) => {
      // Half-open: after our side of a capture has ended, its closing statistics are still to come.
      const socket = connect({ path, allowHalfOpen: true })
      socket.once('error', (error) => reject(noSession(name, directory, error)))
      socket.once('connect', () => {
        socket.removeAllListeners('error')
        resolve(new ControlClient(name, socket))
      })
    })
  }

  describe(): Promise<RunningDescription> {
    return this.#request<RunningDescription>({ request: 'describe' })
  }

  stats(): Promise<Record<string, number>> {
    return this.#request<Record<string, number>>({ request: 'stats' })
  }

  /**
   * Starts a capture. The connection is its from then on: `bytes` is a pcapng file as it grows, `stop` asks for its end.
   */
  async capture(options: {
    readonly snaplen?: number
    readonly count?: number
  }): Promise<{ readonly bytes: Readable; readonly stop: () => void }> {
    const socket = this.#socket
    await this.#request({ request: 'capture', ...options })
    return { bytes: socket, stop: () => socket.end() }
  }

  close(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  async #request<Result>(request: ControlRequest): Promise<Result> {
    if (this.#failure) throw this.#failure
    this.#socket.write(`${JSON.stringify(request)}\n`)
    const line = await this.#nextLine()
    if (request.request === 'capture') {
      // From here on the bytes are the capture's. What came with the answer goes back to be read again.
      this.#socket.off('data', this.#onData).pause()
      const rest = this.#lines.takeRest()
      if (rest.length > 0) this.#socket.unshift(rest)
    }
    return this.#result<Result>(line)
  }

  #result<Result>(line: string): Result {
    const response = this.#parse(line)
    if (response.ok) return response.result as Result
    throw new CommandError(response.error.code, `netd ${this.name} refused: ${response.error.message}`, {
      fix: 'are both netds of the same version?',
    })
  }

  #parse(line: string): ControlResponse {
    try {
      const response = JSON.parse(line) as Partial<ControlResponse> | null
      if (response?.ok === true && 'result' in response) return response as ControlResponse
      if (response?.ok === false && typeof response.error?.code === 'string') return response as ControlResponse
    } catch {
      // Not JSON: the same as JSON that says nothing we know.
    }
    throw new CommandError('control.malformed', `what answers as ${this.name} is not a netd`, {
      fix: 'are both netds of the same version?',
    })
  }

  #nextLine(): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = undefined
        reject(
          new CommandError('control.unreachable', `netd ${this.name} does not answer`, {
            why: `it was given ${answerLimit / 1000} s`,
            fix: 'is it stopped (SIGSTOP), or busy? try again',
          }),
        )
        this.close()
      }, answerLimit)
      const settle =
        <Value>(then: (value: Value) => void) =>
        (value: Value) => {
          clearTimeout(timer)
          this.#waiting = undefined
          then(value)
        }
      this.#waiting = { resolve: settle(resolve), reject: settle(reject) }
      this.#deliver()
    })
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#lines.push(chunk)
    this.#deliver()
  }

  #deliver(): void {
    if (!this.#waiting) return
    try {
      const line = this.#lines.next()
      if (line !== undefined) this.#waiting.resolve(line)
      else if (this.#failure) this.#waiting.reject(this.#failure)
    } catch (error) {
      this.#fail(error as Error)
      this.close()
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error
    this.#waiting?.reject(this.#failure)
  }
}
