import { randomFillSync } from 'node:crypto'
import { DeviceType, type FeatureBit, type FeatureDependency } from '@virtio-ts/spec'
import type { ConfigField, DeviceHost, DeviceModel } from './device-model.ts'
import { Rules } from './rules.ts'

export interface RngModelOptions {
  /** @defaultValue 8, as QEMU has it */
  readonly queueSize?: number
  /** Bytes put into one buffer at most; a device may fill less than the driver offered. */
  readonly bytesPerBuffer?: number
  /** Where the bytes come from: fills the whole of `into`. @defaultValue the process's secure source */
  readonly source?: (into: Uint8Array) => void
}

/** The entropy device. @see VIRTIO 1.3 § 5.4 "Entropy Device" */
export class RngModel implements DeviceModel {
  readonly name: string = 'rng'
  readonly deviceType: number = DeviceType.ENTROPY
  readonly features: bigint = 0n
  readonly featureBits: Readonly<Record<string, FeatureBit>> = {}
  readonly featureDependencies: readonly FeatureDependency[] = []
  readonly queueSizes: readonly number[]
  readonly config: Uint8Array = new Uint8Array(0)
  readonly configFields: readonly ConfigField[] = []
  readonly classCode: number = 0x00ff00
  readonly #options: RngModelOptions
  #host: DeviceHost | undefined
  #bytes = 0

  constructor(options: RngModelOptions = {}) {
    this.#options = options
    this.queueSizes = [options.queueSize ?? 8]
  }

  /** Random bytes handed out. */
  get bytes(): number {
    return this.#bytes
  }

  attach(host: DeviceHost): void {
    this.#host = host
  }

  onReset(): void {}

  onNotify(queue: number): void {
    const ring = this.#host?.ring(queue)
    if (!ring) return
    ring.suppressNotifications()
    do {
      for (let chain = ring.take(); chain; chain = ring.take()) {
        if (chain.readable.length > 0)
          this.#host?.violation(Rules.ENTROPY, 'a device-readable buffer was placed into the queue')
        const random = new Uint8Array(
          Math.min(chain.writableLength, this.#options.bytesPerBuffer ?? chain.writableLength),
        )
        const fill = this.#options.source ?? randomFillSync
        fill(random)
        ring.push(chain, chain.write(random))
        this.#bytes += random.length
      }
    } while (ring.requestNotifications())
    ring.flush()
  }
}
