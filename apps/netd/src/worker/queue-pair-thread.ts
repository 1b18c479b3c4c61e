import { Worker } from 'node:worker_threads'
import type { FaultReport } from '@virtio-ts/driver-net'
import { revivedError } from './portable-error.ts'
import type { QueuePairOrder, QueuePairReport, QueuePairRequest } from './queue-pair-messages.ts'

/** How long the thread may take for an answer, and to stop: 2 s for frames in the ring. Milliseconds. */
const statsLimit = 1000
const stopLimit = 5000

export interface QueuePairThreadOptions {
  readonly request: QueuePairRequest
  readonly onFault: (fault: FaultReport) => void
  /** Captured frames, as `FrameSender` sends them. */
  readonly onFrames: (batch: Uint8Array, dropped: number) => void
  /** An error nobody caught there, or that it does not stop. The thread may still be at work. */
  readonly onCrash: (error: Error) => void
}

/** The thread of one further queue pair, as its owner sees it. */
export class QueuePairThread {
  readonly #options: QueuePairThreadOptions
  readonly #worker: Worker
  #stats: Readonly<Record<string, number>> = {}
  #onStats: (() => void) | undefined
  #onStopped: (() => void) | undefined
  #ended = false
  #stopping: Promise<void> | undefined

  constructor(options: QueuePairThreadOptions) {
    this.#options = options
    const { index } = options.request.transfer.shape
    this.#worker = new Worker(new URL('./queue-pair.js', import.meta.url), {
      workerData: options.request,
      name: `netd queue pair ${index}`,
    })
    this.#worker.on('message', (report: QueuePairReport) => this.#receive(report))
    this.#worker.on('error', (error) => options.onCrash(error instanceof Error ? error : new Error(String(error))))
    this.#worker.on('exit', (code) => {
      if (!this.#ended) options.onCrash(new Error(`the thread of queue pair ${index} ended by itself, with ${code}`))
    })
  }

  /** The driver's counters of this pair, as they were at the last `refresh`. */
  get stats(): Readonly<Record<string, number>> {
    return this.#stats
  }

  /** Fetches the counters; gives up after a second. */
  async refresh(): Promise<void> {
    if (this.#ended) return
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, statsLimit)
      this.#onStats = () => {
        clearTimeout(limit)
        resolve()
      }
      this.#order({ order: 'stats' })
    })
  }

  capture(on: boolean): void {
    this.#order({ order: 'capture', on })
  }

  stopTransmit(): void {
    this.#order({ order: 'stop-transmit' })
  }

  /**
   * Resolves when the thread touches nothing any more that belongs to the device.
   * @param reason the device has failed: nothing is waited for
   */
  stop(reason?: FaultReport): Promise<void> {
    this.#stopping ??= new Promise((resolve) => {
      if (this.#ended) return resolve()
      const limit = setTimeout(() => {
        this.#options.onCrash(new Error(`the thread of a queue pair did not stop within ${stopLimit} ms`))
        resolve()
      }, stopLimit)
      this.#onStopped = () => {
        clearTimeout(limit)
        resolve()
      }
      this.#order({ order: 'stop', ...(reason ? { reason } : {}) })
    })
    return this.#stopping
  }

  #order(order: QueuePairOrder): void {
    this.#worker.postMessage(order)
  }

  #receive(message: QueuePairReport): void {
    switch (message.report) {
      case 'stats':
        this.#stats = message.stats
        return this.#onStats?.()
      case 'fault':
        return this.#options.onFault(message.fault)
      case 'frames':
        this.#options.onFrames(message.batch, message.dropped)
        return this.#order({ order: 'frames-taken', bytes: message.batch.buffer.byteLength })
      case 'crashed':
        return this.#options.onCrash(revivedError(message.error))
      case 'stopped':
        this.#stats = message.stats
        this.#ended = true
        this.#onStopped?.()
    }
  }
}
