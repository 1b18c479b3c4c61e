import type { Virtqueue } from '@virtio-ts/core'
import type { VirtioError } from '@virtio-ts/spec'
import { Listeners } from './listeners.ts'
import type { PacketMemory } from './packet-memory.ts'
import { PairAttention } from './pair-attention.ts'
import type { PairShape } from './pair-shape.ts'
import { PairWatchdog } from './pair-watchdog.ts'
import { ReceivePath } from './receive-path.ts'
import { RECEIVED_HEAD_LENGTH } from './received-packet.ts'
import { TransmitPath } from './transmit-path.ts'

export interface QueuePairEngineOptions {
  readonly shape: PairShape
  readonly memory: PacketMemory
  readonly receiveQueue: Virtqueue
  readonly transmitQueue: Virtqueue
  /** `RECEIVED_HEAD_LENGTH` bytes that no device reaches. @defaultValue memory of its own */
  readonly head?: Uint8Array | undefined
  readonly onTransmitTimeout: (inFlight: number) => void
}

/** The works of one queue pair, whichever thread they run in: paths, attention and watchdog. */
export class QueuePairEngine {
  readonly shape: PairShape
  readonly memory: PacketMemory
  readonly receiveQueue: Virtqueue
  readonly transmitQueue: Virtqueue
  readonly receive: ReceivePath
  readonly transmit: TransmitPath
  readonly attention: PairAttention
  readonly faults: Listeners<[VirtioError]> = new Listeners()
  readonly #watchdog: PairWatchdog
  #fault: VirtioError | undefined
  #stopped = false

  constructor(options: QueuePairEngineOptions) {
    const { shape, memory, receiveQueue, transmitQueue } = options
    const { layout, headerLength, splitHeader, notified } = shape
    this.shape = shape
    this.memory = memory
    this.receiveQueue = receiveQueue
    this.transmitQueue = transmitQueue
    this.receive = new ReceivePath({
      device: shape.device,
      generation: shape.generation,
      queue: receiveQueue,
      memory,
      buffers: layout.receive,
      headerLength,
      mergeable: shape.mergeable,
      splitHeader,
      strict: shape.strict,
      head: options.head ?? new Uint8Array(RECEIVED_HEAD_LENGTH),
      policy: shape.receivePolicy,
    })
    this.transmit = new TransmitPath({
      queue: transmitQueue,
      memory,
      small: layout.small,
      large: layout.large,
      headroom: layout.headroom,
      chains: shape.transmitChains,
      headerLength,
      splitHeader,
      notified,
      policy: shape.transmitPolicy,
      onFull: () => this.attention.transmitFull(),
    })
    const queues = { receiveQueue, transmitQueue, receive: this.receive, transmit: this.transmit }
    this.#watchdog = new PairWatchdog({
      ...queues,
      transmitTimeout: shape.transmitTimeout,
      onTransmitTimeout: options.onTransmitTimeout,
    })
    this.attention = new PairAttention({
      ...queues,
      watchdog: this.#watchdog,
      polled: !notified,
      interval: shape.interval,
    })
  }

  /** Why the pair does not work any more, unless it was stopped in good order. */
  get fault(): VirtioError | undefined {
    return this.#fault
  }

  get stopped(): boolean {
    return this.#stopped
  }

  /** Stops for a fault, and tells of it: once. */
  fail(reason: VirtioError): void {
    if (this.#stopped) return
    this.#fault = reason
    this.stop()
    this.faults.call(reason)
  }

  stop(): void {
    this.#stopped = true
    this.attention.stop()
    this.receive.stop()
    this.transmit.stop()
  }

  /** @returns frames the device has not used after `timeout` milliseconds or a fault */
  async drain(timeout: number): Promise<number> {
    const { transmit } = this
    const end = performance.now() + timeout
    while (!this.#stopped && transmit.inFlight > 0) {
      transmit.reclaim()
      if (transmit.inFlight === 0 || performance.now() >= end) break
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    return transmit.inFlight
  }

  stats(): Record<string, number> {
    const stats: Record<string, number> = {}
    this.receive.addStats(stats)
    this.transmit.addStats(stats)
    this.#watchdog.addStats(stats)
    stats.missed_notifications = this.attention.missed
    return stats
  }
}
