import { type UsedBatch, usedBatch, type VirtioDevice, type Virtqueue } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { type BalloonFeatureName, type BalloonQueueName, VirtioError } from '@virtio-ts/spec'
import type { BalloonEventListeners } from './balloon-events.ts'
import { type BalloonStatistics, STATISTICS_LENGTH, type StatisticsEncoder } from './balloon-statistics.ts'

export interface StatisticsOptions {
  readonly device: VirtioDevice<BalloonFeatureName, BalloonQueueName>
  readonly encoder: StatisticsEncoder
  readonly collect: () => BalloonStatistics | Promise<BalloonStatistics>
  readonly events: BalloonEventListeners
}

/**
 * One buffer, which the device keeps and gives back when it wants to know more.
 * @see VIRTIO 1.3 § 5.5.6.3.1 "Driver Requirements: Memory Statistics"
 */
export class StatisticsQueue {
  readonly #options: StatisticsOptions
  readonly #queue: Virtqueue
  readonly #memory: DmaRegion
  readonly #batch: UsedBatch = usedBatch(1)
  #collecting = false
  #told = 0

  constructor(options: StatisticsOptions) {
    this.#options = options
    const { device } = options
    this.#queue = device.queue('statsq')
    this.#memory = device.allocate(STATISTICS_LENGTH)
    this.#send()
    if (device.interrupts !== 'none') device.onUsed('statsq', () => this.service())
  }

  /** Sets of statistics that the device was given. */
  get told(): number {
    return this.#told
  }

  /** Answers the device if it asked. Never throws. */
  service(): void {
    const { device } = this.#options
    do {
      if (device.fault) return
      if (this.#queue.popUsed(this.#batch) > 0 && !this.#collecting) {
        this.#collecting = true
        void this.#answer()
      }
    } while (device.interrupts !== 'none' && this.#queue.enableUsedNotifications())
  }

  async #answer(): Promise<void> {
    const { device, collect, encoder, events } = this.#options
    try {
      encoder.update(await collect())
    } catch (cause) {
      // The device gets what it got before: it must get something.
      const message = `the statistics for ${device.location} failed: ${cause instanceof Error ? cause.message : cause}`
      events['source-failed'].call(new VirtioError('balloon.statistics', message, { device: device.location, cause }))
    }
    this.#collecting = false
    // Closed meanwhile: the memory may be somebody else's.
    if (!device.fault) this.#send()
  }

  #send(): void {
    const length = this.#options.encoder.encode(this.#memory.bytes)
    if (!this.#queue.addReadable(this.#memory.deviceAddress, length, 0)) return
    this.#told++
    this.#queue.publish()
  }
}
