import { CommandError } from '@virtio-ts/command-line'
import { Worker } from 'node:worker_threads'
import type { CaptureSink } from '../capture/packet-tap.ts'
import type { Observable, SessionDescription } from '../control/observable.ts'
import type { SessionEvent } from '../session/session-event.ts'
import type { DataPlaneOrder, DataPlaneReport, SessionRequest } from './data-plane-messages.ts'
import { replayFrames } from './frame-batch.ts'
import { revivedError } from './portable-error.ts'

/** How long the data plane may take to answer a question, between two turns of its loop. Clients of the control socket wait longer. */
const answerLimit = 3000
/** How long it may take to stop: 2 s for frames in the ring, and resets that are not confirmed. */
const stopLimit = 30_000

interface Waiter {
  readonly resolve: (result: unknown) => void
  readonly reject: (error: Error) => void
}

/** A session in a thread of its own, as the main thread sees it. */
export class SessionWorker implements Observable {
  readonly #worker: Worker
  readonly #onEvent: (event: SessionEvent) => void
  readonly #questions = new Map<number, Waiter>()
  readonly #sinks = new Set<CaptureSink>()
  readonly #opened: Promise<void>
  readonly #stopped: Promise<void>
  #settleOpened!: Waiter
  #settleStopped!: Waiter
  #end!: (reason: Error) => void
  /** Why the thread answers no more. */
  #dead: Error | undefined
  #finished = false
  #exited = false
  #name = ''
  #nextId = 0
  #stopping: Promise<void> | undefined
  /** Resolves with the reason when the session cannot go on; `stop` is still the caller's to call. */
  readonly ended: Promise<Error> = new Promise((resolve) => {
    this.#end = resolve
  })

  private constructor(request: SessionRequest, onEvent: (event: SessionEvent) => void) {
    this.#onEvent = onEvent
    const settled = (keep: (waiter: Waiter) => void): Promise<void> =>
      new Promise((resolve, reject) => keep({ resolve: () => resolve(), reject }))
    this.#opened = settled((waiter) => (this.#settleOpened = waiter))
    this.#stopped = settled((waiter) => (this.#settleStopped = waiter))
    // Whoever calls `stop` hears of it, and nobody else has to.
    this.#stopped.catch(() => {})
    this.#worker = new Worker(new URL('./data-plane.js', import.meta.url), {
      workerData: request,
      name: 'netd data plane',
    })
    this.#worker.on('message', (report: DataPlaneReport) => this.#receive(report))
    this.#worker.on('error', (error) => this.#die(crashOf(error)))
    this.#worker.on('exit', (code) => {
      this.#exited = true
      this.#die(new Error(`the data plane's thread ended by itself, with ${code}`))
    })
  }

  /**
   * Starts the thread and waits until its session is open.
   * @param signal gives up waiting for a device that will connect to us
   * @throws what `NetSession.open` throws, with its code; AbortError
   */
  static async open(
    request: SessionRequest,
    onEvent: (event: SessionEvent) => void,
    signal: AbortSignal,
  ): Promise<SessionWorker> {
    const session = new SessionWorker(request, onEvent)
    const { exitNow } = await import('@virtio-ts/native')
    process.on('exit', (code) => {
      if (!session.#exited) exitNow(code)
    })
    const abort = (): void => session.#order({ order: 'stop' })
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
    try {
      await session.#opened
      return session
    } catch (error) {
      session.#worker.unref()
      throw error
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  /** What it is called from outside. */
  get name(): string {
    return this.#name
  }

  describe(): Promise<SessionDescription> {
    return this.#ask('describe') as Promise<SessionDescription>
  }

  stats(): Promise<Record<string, number>> {
    return this.#ask('stats') as Promise<Record<string, number>>
  }

  attachCapture(sink: CaptureSink): () => void {
    this.#sinks.add(sink)
    if (this.#sinks.size === 1) this.#order({ order: 'capture', on: true })
    return () => {
      if (this.#sinks.delete(sink) && this.#sinks.size === 0) this.#order({ order: 'capture', on: false })
    }
  }

  /** Lets the session end in order, and its thread with it. Rejects when that did not work. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #stop(): Promise<void> {
    this.#order({ order: 'stop' })
    const limit = setTimeout(
      () => this.#die(new Error(`the data plane did not stop within ${stopLimit} ms`)),
      stopLimit,
    )
    try {
      await this.#stopped
    } finally {
      clearTimeout(limit)
      // It ends by itself; one that did not stop must not keep the process.
      this.#worker.unref()
    }
  }

  #ask(about: 'describe' | 'stats'): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#dead) return reject(this.#dead)
      const id = this.#nextId++
      const limit = setTimeout(() => {
        settle()
        reject(new CommandError('control.busy', `the data plane has not answered for ${answerLimit} ms`))
      }, answerLimit)
      const settle = (): void => {
        clearTimeout(limit)
        this.#questions.delete(id)
      }
      this.#questions.set(id, {
        resolve: (result) => {
          settle()
          resolve(result)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      })
      this.#order({ order: 'ask', id, about })
    })
  }

  #order(order: DataPlaneOrder): void {
    this.#worker.postMessage(order)
  }

  #receive(message: DataPlaneReport): void {
    switch (message.report) {
      case 'event':
        return this.#onEvent(message.event)
      case 'opened':
        this.#name = message.name
        return this.#settleOpened.resolve(undefined)
      case 'failed':
        this.#finished = true
        return this.#settleOpened.reject(revivedError(message.error))
      case 'answer':
        return this.#questions.get(message.id)?.resolve(message.result)
      case 'refusal':
        return this.#questions.get(message.id)?.reject(revivedError(message.error))
      case 'frames':
        return this.#replay(message.batch, message.dropped)
      case 'crashed':
        return this.#die(crashOf(revivedError(message.error)))
      case 'ended':
        return this.#end(revivedError(message.reason))
      case 'stopped':
        this.#finished = true
        if (message.error) this.#settleStopped.reject(revivedError(message.error))
        else this.#settleStopped.resolve(undefined)
    }
  }

  #replay(batch: Uint8Array, dropped: number): void {
    if (dropped > 0) for (const sink of this.#sinks) sink.missed(dropped)
    replayFrames(batch, this.#sinks)
    this.#order({ order: 'frames-taken', bytes: batch.buffer.byteLength })
  }

  /** The thread is gone, or as good as gone: whoever waits for it is told. */
  #die(reason: Error): void {
    const told = this.#finished ? new CommandError('control.ended', 'the session has ended') : reason
    this.#dead ??= told
    for (const question of this.#questions.values()) question.reject(this.#dead)
    this.#settleOpened.reject(this.#dead)
    this.#settleStopped.reject(this.#dead)
    this.#end(this.#dead)
  }
}

/** An error nobody caught in the thread. Without a code, whatever it had: it is a bug, and its stack goes with it. */
function crashOf(error: unknown): Error {
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  const crash = new Error(`the data plane's thread failed: ${message}`)
  if (stack !== undefined) crash.stack = stack
  return crash
}
