import { Socket } from 'node:net'
import { LineSplitter } from './line-splitter.ts'
import { QemuError } from './qemu-error.ts'
import type { QmpEventData } from './qmp-events.ts'

const DEFAULT_TIMEOUT_MS = 10_000
/** Longest message taken from QEMU, in bytes. */
const LONGEST_MESSAGE = 16 * 1024 * 1024

export interface QmpWait {
  /** In milliseconds; 10 000 when left out. */
  readonly timeout?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export interface QemuVersion {
  readonly major: number
  readonly minor: number
  readonly micro: number
}

interface Pending {
  readonly command: string
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** The QEMU Machine Protocol: commands, answers and events as JSON, one object a line. */
export class QmpClient {
  readonly #socket: Socket
  readonly #lines = new LineSplitter('utf8', LONGEST_MESSAGE)
  readonly #pending = new Map<number, Pending>()
  readonly #listeners = new Map<string, Set<(data: never) => void>>()
  readonly #greeting: Promise<QemuVersion>
  #greet: (version: QemuVersion) => void = () => {}
  #refuse: (error: QemuError) => void = () => {}
  #version: QemuVersion = { major: 0, minor: 0, micro: 0 }
  #lastId = 0
  #ended: QemuError | undefined

  /** @param fd a connected stream socket, from now on this object's */
  constructor(fd: number) {
    this.#greeting = new Promise((resolve, reject) => {
      this.#greet = resolve
      this.#refuse = reject
    })
    // it may be that nobody waits for it
    this.#greeting.catch(() => {})
    this.#socket = new Socket({ fd, readable: true, writable: true })
    this.#socket.on('data', (bytes) => this.#receive(bytes))
    this.#socket.on('error', () => {})
    this.#socket.on('close', () => this.#end(new QemuError('qemu.exited', 'QEMU has ended (QMP: end of stream)')))
  }

  /** Waits for QEMU's greeting and enters command mode. */
  async negotiate(wait: QmpWait = {}): Promise<void> {
    this.#version = await this.#within('the greeting', wait, () => this.#greeting)
    await this.execute('qmp_capabilities', undefined, wait)
  }

  /** Of QEMU, once `negotiate` is done. */
  get version(): QemuVersion {
    return this.#version
  }

  /**
   * @param Result what the command returns, as QEMU's QMP reference says; it is not checked
   * @throws QemuError `qmp.error` when QEMU refuses, `qmp.timeout`, `qemu.exited`; the signal's reason when that is aborted (QEMU
   * may carry the command out all the same)
   */
  async execute<Result = unknown>(
    command: string,
    args?: Readonly<Record<string, unknown>>,
    wait: QmpWait = {},
  ): Promise<Result> {
    const id = ++this.#lastId
    try {
      return (await this.#within(`the answer to ${command}`, wait, () => {
        if (this.#ended !== undefined) throw this.#ended
        const answer = new Promise((resolve, reject) => this.#pending.set(id, { command, resolve, reject }))
        this.#socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`)
        return answer
      })) as Result
    } finally {
      this.#pending.delete(id)
    }
  }

  /** Calls `listener` for every event of this name. Returns a function that takes it off. */
  on<Name extends string>(name: Name, listener: (data: QmpEventData<Name>) => void): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners)
    const entry = (data: never): void => listener(data)
    listeners.add(entry)
    return () => void listeners.delete(entry)
  }

  /**
   * Waits for the next event of this name that `accepts` takes. Ask before causing it.
   * @throws QemuError `qmp.timeout`, `qemu.exited`; the signal's reason when that is aborted
   */
  async next<Name extends string>(
    name: Name,
    accepts: (data: QmpEventData<Name>) => boolean = () => true,
    wait: QmpWait = {},
  ): Promise<QmpEventData<Name>> {
    const id = ++this.#lastId
    let off: () => void = () => {}
    try {
      return await this.#within(`the event ${name}`, wait, () => {
        if (this.#ended !== undefined) throw this.#ended
        return new Promise<QmpEventData<Name>>((resolve, reject) => {
          // Among the commands, for the end of the stream to reach it; no answer will.
          this.#pending.set(id, { command: name, resolve: () => {}, reject })
          off = this.on(name, (data) => {
            if (accepts(data)) resolve(data)
          })
        })
      })
    } finally {
      off()
      this.#pending.delete(id)
    }
  }

  /** Ends the connection; QEMU goes on. What waits is rejected with `reason`. */
  close(reason: QemuError = new QemuError('qemu.closed', 'the QMP connection has been closed')): void {
    this.#end(reason)
    // what comes later hears the better reason, if the stream has ended by itself before
    this.#ended = reason
    this.#socket.destroy()
  }

  async #within<T>(what: string, { timeout = DEFAULT_TIMEOUT_MS, signal }: QmpWait, act: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted()
    let timer: NodeJS.Timeout | undefined
    let abort: () => void = () => {}
    const given = new Promise<never>((_, reject) => {
      const message = `QEMU has not sent ${what} within ${timeout} ms; it may be busy: wait longer, or look at its stderr`
      timer = setTimeout(() => reject(new QemuError('qmp.timeout', message)), timeout)
      abort = () => reject(signal?.reason)
      signal?.addEventListener('abort', abort)
    })
    try {
      return await Promise.race([act(), given])
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  #receive(bytes: Buffer): void {
    try {
      this.#lines.push(bytes, (line) => this.#take(line))
    } catch (cause) {
      this.close(new QemuError('qemu.protocol', 'QEMU sent what is no QMP', { cause }))
    }
  }

  #take(line: string): void {
    if (this.#ended !== undefined || line === '') return
    const message: unknown = JSON.parse(line)
    if (typeof message !== 'object' || message === null) throw new TypeError('not an object')
    if ('QMP' in message) return this.#greet((message as Greeting).QMP.version.qemu)
    if ('event' in message) return this.#emit(message as EventMessage)
    const { id, error, return: result } = message as Answer
    const pending = typeof id === 'number' ? this.#pending.get(id) : undefined
    // the answer to a command that nobody waits for any more
    if (pending === undefined) return
    if (error === undefined) return pending.resolve(result)
    pending.reject(new QemuError('qmp.error', `QEMU refused ${pending.command}: ${error.desc} (${error.class})`))
  }

  #emit({ event, data = {} }: EventMessage): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      // one that throws is its owner's affair, not the connection's
      queueMicrotask(() => listener(data as never))
    }
  }

  #end(reason: QemuError): void {
    if (this.#ended !== undefined) return
    this.#ended = reason
    this.#refuse(reason)
    for (const pending of this.#pending.values()) pending.reject(reason)
  }
}

interface Greeting {
  readonly QMP: { readonly version: { readonly qemu: QemuVersion } }
}

interface EventMessage {
  readonly event: string
  readonly data?: unknown
}

interface Answer {
  readonly id?: unknown
  readonly return?: unknown
  readonly error?: { readonly class: string; readonly desc: string }
}
