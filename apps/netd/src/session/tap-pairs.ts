import { type FaultReport, type NetDriver, RECEIVED_HEAD_LENGTH } from '@virtio-ts/driver-net'
import type { Tap, TapQueue } from '@virtio-ts/tap'
import { isLevel } from '../control/observable.ts'
import { QueuePairThread } from '../worker/queue-pair-thread.ts'
import type { FrameTap } from './frame-tap.ts'
import { FromDevice } from './from-device.ts'
import type { PacketPair } from './packet-pair.ts'
import { SessionCounters } from './session-counters.ts'
import { type Polling, TapLoop } from './tap-loop.ts'
import { ToDevice } from './to-device.ts'

export interface TapPairsOptions {
  readonly tap: Tap
  readonly frames: FrameTap
  /** A thread of a pair failed in a way nobody expected. */
  readonly onCrash: (error: Error) => void
}

export interface StartedPairs {
  /** Bytes of the largest frame the TAP hands over. */
  readonly largest: number
  /** Pairs in use; the TAP's further queues are taken out of use. */
  readonly count: number
  /** Give every pair but the first to a thread of its own. */
  readonly threads: boolean
  /** Asked to be, or because the device has no interrupts here. */
  readonly polling: Polling
}

type PairShape = Pick<StartedPairs, 'largest' | 'polling'>

/** The queue pairs of a driver, each connected to a queue of the TAP: the first in this thread, further ones where they can be. */
export class TapPairs {
  readonly #options: TapPairsOptions
  readonly #counters: readonly SessionCounters[]
  // ArrayBuffers of their own: a small typed array may live on the heap, where the collector moves it.
  readonly #heads: readonly Uint8Array[]
  readonly #attached: boolean[]
  #loops: readonly TapLoop[] = []
  #threads: readonly QueuePairThread[] = []
  /** Counters of the drivers of threads that have ended. */
  readonly #past: Record<string, number> = {}

  constructor(options: TapPairsOptions) {
    this.#options = options
    const { queues } = options.tap
    this.#counters = queues.map(() => new SessionCounters())
    this.#heads = queues.map(() => new Uint8Array(new ArrayBuffer(RECEIVED_HEAD_LENGTH)))
    this.#attached = queues.map(() => true)
  }

  /** For the driver's option of that name. */
  head(pair: number): Uint8Array {
    return this.#heads[pair] as Uint8Array
  }

  /** @throws TapError */
  start(driver: NetDriver, { count, threads, ...shape }: StartedPairs): void {
    this.#useQueues(count)
    // The first one's calls on the driver itself also look after the device.
    const here: PacketPair[] = threads ? [driver] : [driver, ...driver.pairs.slice(1, count)]
    this.#loops = here.map((pair, index) => this.#loop(pair, index, shape))
    this.#threads = threads ? driver.pairs.slice(1, count).map((pair) => this.#thread(driver, pair.index, shape)) : []
    for (const loop of this.#loops) loop.start()
  }

  /** Takes no more frames from the TAP, for good: what is in the rings drains, and what arrives is still passed on. */
  stopTransmit(): void {
    for (const loop of this.#loops) loop.stopTransmit()
    for (const thread of this.#threads) thread.stopTransmit()
  }

  /**
   * Resolves when nobody uses the driver's memory any more.
   * @param reason the device has failed: frames in the rings are not waited for
   */
  async stop(reason?: FaultReport): Promise<void> {
    for (const loop of this.#loops) loop.stop()
    const threads = this.#threads
    await Promise.all(threads.map((thread) => thread.stop(reason)))
    if (threads !== this.#threads) return
    for (const { stats } of threads) addUp(this.#past, stats, false)
    this.#threads = []
  }

  /** Whether captured frames are wanted from the threads. */
  capture(on: boolean): void {
    for (const thread of this.#threads) thread.capture(on)
  }

  /** Fetches the counters of the threads. */
  async refresh(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.refresh()))
  }

  /** What passed here, and what the drivers of pairs in other threads count. */
  addStats(stats: Record<string, number>): void {
    for (const [index, counters] of this.#counters.entries()) {
      counters.addTo(stats)
      if (this.#counters.length > 1) counters.addFramesTo(stats, `pair${index}_`)
    }
    addUp(stats, this.#past, false)
    for (const thread of this.#threads) addUp(stats, thread.stats, true)
  }

  /** The kernel spreads frames over all queues that are attached: those that nobody reads must not be. */
  #useQueues(count: number): void {
    const { queues } = this.#options.tap
    for (const [index, queue] of queues.entries()) {
      if (this.#attached[index] === index < count) continue
      queue.setAttached(index < count)
      this.#attached[index] = index < count
    }
  }

  #loop(pair: PacketPair, index: number, { largest, polling }: PairShape): TapLoop {
    const { tap, frames } = this.#options
    const queue = tap.queues[index] as TapQueue
    const counters = this.#counters[index] as SessionCounters
    const fromDevice = new FromDevice(pair, queue, counters, frames, this.head(index), index)
    const toDevice = new ToDevice(pair, queue, counters, frames, largest, index)
    return new TapLoop(pair, queue, fromDevice, toDevice, polling)
  }

  #thread(driver: NetDriver, index: number, { largest, polling }: PairShape): QueuePairThread {
    const { tap, frames, onCrash } = this.#options
    return new QueuePairThread({
      request: {
        transfer: (driver.pairs[index] as NetDriver['pairs'][number]).transfer(),
        tapFd: (tap.queues[index] as TapQueue).fd,
        counters: (this.#counters[index] as SessionCounters).memory,
        largest,
        polling,
        capturing: frames.active,
      },
      onFault: (fault) => driver.reportFault(index, fault),
      onFrames: (batch, dropped) => frames.replay(batch, dropped),
      onCrash,
    })
  }
}

function addUp(sums: Record<string, number>, stats: Readonly<Record<string, number>>, levels: boolean): void {
  for (const [name, value] of Object.entries(stats))
    if (levels || !isLevel(name)) sums[name] = (sums[name] ?? 0) + value
}
