import type { VirtioDevice } from '@virtio-ts/core'
import type { BalloonFeatureName, BalloonQueueName } from '@virtio-ts/spec'
import type { GuardedSource } from './guarded-source.ts'
import { memoryOf } from './memory-of.ts'
import type { PageRange } from './page-source.ts'

/** Ranges in one report, as Linux has it. */
const BATCH = 32

/**
 * Tells the device which memory is free, so that it can do something else with it until somebody touches it again.
 * @see VIRTIO 1.3 § 5.5.6.7 "Free Page Reporting"
 */
export class FreePageReporter {
  readonly #device: VirtioDevice<BalloonFeatureName, BalloonQueueName>
  readonly #source: GuardedSource
  readonly #most: number
  #out: readonly PageRange[] = []
  #turn: Promise<number> = Promise.resolve(0)
  #bytes = 0

  constructor(device: VirtioDevice<BalloonFeatureName, BalloonQueueName>, source: GuardedSource) {
    this.#device = device
    this.#source = source
    this.#most = Math.min(BATCH, device.queue('reporting_vq').maxChain)
  }

  /** Bytes reported so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** Reports what is free and was not reported. @returns bytes */
  report(): Promise<number> {
    this.#turn = this.#turn.catch(() => {}).then(() => this.#report())
    return this.#turn
  }

  /** After the end: what the device did not acknowledge. */
  takeAll(): readonly PageRange[] {
    const out = this.#out
    this.#out = []
    return out
  }

  async #report(): Promise<number> {
    let bytes = 0
    while (!this.#device.fault) {
      const ranges = this.#source.takeFree(this.#most, 'report')
      if (ranges.length === 0) break
      // VIRTIO 1.3 § 5.5.6.7.1 "Driver Requirements: Free Page Reporting": not to be used before the device has acknowledged it.
      this.#out = ranges
      await this.#device.requestQueue('reporting_vq').request({ writable: ranges.map(memoryOf) })
      this.#out = []
      this.#source.giveFree(ranges)
      bytes += ranges.reduce((sum, { length }) => sum + length, 0)
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#bytes += bytes
    return bytes
  }
}
