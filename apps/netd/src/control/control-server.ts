import { claimSocket, codeOf, CommandError } from '@virtio-ts/command-line'
import { createServer, type Server, type Socket } from 'node:net'
import { PcapngCapture } from '../capture/pcapng-capture.ts'
import { netdVersion } from '../version.ts'
import { LineSplitter } from './line-splitter.ts'
import type { Observable } from './observable.ts'
import { type ControlRequest, type ControlResponse, maxRequestLength, type RunningDescription } from './protocol.ts'
import { parseRequest } from './request.ts'
import { prepareRuntimeDirectory, runtimeDirectory, socketPath } from './runtime-directory.ts'

export interface ControlServerOptions {
  /** What the session is called from outside: the name of its TAP. */
  readonly name: string
  readonly observable: Observable
  /** @defaultValue `runtimeDirectory()` */
  readonly directory?: string
}

const maxConnections = 32
/** Bytes of answers a client may leave unread. */
const maxUnread = 1 << 20
/** How long a connection may stay silent before its next request is whole, in milliseconds. */
const requestLimit = 30_000

/** Answers `netd show`, `stats` and `capture` about one session, on a Unix socket that only its own user reaches. */
export class ControlServer {
  readonly path: string
  readonly #name: string
  readonly #observable: Observable
  readonly #server: Server
  readonly #started = new Date().toISOString()
  readonly #connections = new Set<Socket>()
  readonly #captures = new Set<PcapngCapture>()
  #release: () => void = () => {}
  #closing: Promise<void> | undefined

  private constructor(path: string, name: string, observable: Observable) {
    this.path = path
    this.#name = name
    this.#observable = observable
    // Half-open: a client ends its side of a capture and still gets the closing statistics.
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket))
    this.#server.maxConnections = maxConnections
  }

  /** @throws CommandError `control.name-taken`, `control.directory`, `control.path-too-long`, `control.name` */
  static async start({
    name,
    observable,
    directory = runtimeDirectory(),
  }: ControlServerOptions): Promise<ControlServer> {
    const path = socketPath(directory, name)
    prepareRuntimeDirectory(directory)
    const server = new ControlServer(path, name, observable)
    try {
      server.#release = await claimSocket(server.#server, path)
    } catch (error) {
      throw codeOf(error) === 'control.socket-in-use' ? nameTaken(name, path) : error
    }
    // A connection that fails while being accepted (EMFILE) is the client's loss, not the session's.
    server.#server.on('error', () => {})
    return server
  }

  /** Ends every capture with its statistics, then every connection, and removes the socket. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#release()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    await Promise.all(Array.from(this.#captures, (capture) => capture.close()))
    for (const connection of this.#connections) connection.destroy()
    await closed
  }

  #accept(socket: Socket): void {
    this.#connections.add(socket)
    socket.on('close', () => this.#connections.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.setTimeout(requestLimit, () => socket.destroy())
    const lines = new LineSplitter(maxRequestLength)
    const onData = (chunk: Buffer) => {
      lines.push(chunk)
      // One request after the other: no more is read until these are answered.
      socket.pause()
      void this.#answerAll(socket, lines).then((captures) => {
        // A capture owns the connection: whatever else the client sends is read and thrown away.
        if (captures) socket.off('data', onData)
        socket.resume()
      })
    }
    socket.on('data', onData)
    socket.on('end', () => socket.listenerCount('data') > 0 && socket.end())
  }

  /** Answers every whole line there is. @returns true when the connection is a capture's from here on */
  async #answerAll(socket: Socket, lines: LineSplitter): Promise<boolean> {
    try {
      for (let line = lines.next(); line !== undefined; line = lines.next()) {
        if (await this.#answer(socket, line)) return true
      }
    } catch (error) {
      refuse(socket, error)
      socket.end()
    }
    return false
  }

  /** @returns true when the connection is a capture's from here on */
  async #answer(socket: Socket, line: string): Promise<boolean> {
    try {
      const request = parseRequest(line)
      if (request.request === 'capture') return await this.#capture(socket, request)
      respond(socket, await (request.request === 'describe' ? this.#describe() : this.#observable.stats()))
    } catch (error) {
      refuse(socket, error)
    }
    return false
  }

  async #describe(): Promise<RunningDescription> {
    return {
      name: this.#name,
      pid: process.pid,
      version: netdVersion(),
      started: this.#started,
      ...(await this.#observable.describe()),
    }
  }

  async #capture(
    socket: Socket,
    { snaplen, count }: Extract<ControlRequest, { request: 'capture' }>,
  ): Promise<boolean> {
    const { locator, net } = await this.#observable.describe()
    // It may have gone while the session answered, and would then never say so again.
    if (socket.destroyed) return true
    socket.setTimeout(0)
    respond(socket, { name: this.#name })
    let detach = () => {}
    const capture = new PcapngCapture(socket, {
      interfaceName: this.#name,
      description: locator,
      mac: Uint8Array.from(net.mac.split(':'), (octet) => Number.parseInt(octet, 16)),
      ...(snaplen === undefined ? {} : { snaplen }),
      ...(count === undefined ? {} : { count }),
      onEnd: () => {
        detach()
        this.#captures.delete(capture)
      },
    })
    this.#captures.add(capture)
    detach = this.#observable.attachCapture(capture)
    socket.on('end', () => void capture.close())
    return true
  }
}

function nameTaken(name: string, path: string): CommandError {
  return new CommandError('control.name-taken', `a netd named ${name} is running already`, {
    why: `it answers on ${path}`,
    fix: `another name: netd run ... --tap NAME; or look at it: netd show ${name}`,
  })
}

function send(socket: Socket, response: ControlResponse): void {
  if (socket.writableEnded || socket.destroyed) return
  // A client that asks and never reads would fill our memory with answers.
  if (socket.writableLength > maxUnread) socket.destroy()
  else socket.write(`${JSON.stringify(response)}\n`)
}

function respond(socket: Socket, result: unknown): void {
  send(socket, { ok: true, result })
}

function refuse(socket: Socket, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error)
  send(socket, { ok: false, error: { code: codeOf(error) ?? 'control.internal', message } })
}
