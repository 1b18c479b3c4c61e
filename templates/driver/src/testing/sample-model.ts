import type { ConfigField, DeviceHost, DeviceModel } from '@virtio-ts/device-models'
import type { FeatureBit, FeatureDependency } from '@virtio-ts/spec'

const MAX_LENGTH = 0

/**
 * The device's side: answers each question with the same bytes in reverse. Change: what your device does, written from
 * the specification and not from your driver, so that a misreading shows. A complete one belongs into `device-models`.
 */
export class SampleModel implements DeviceModel {
  readonly name: string = 'sample'
  readonly deviceType: number = 63
  readonly features: bigint = 1n << BigInt(MAX_LENGTH)
  readonly featureBits: Readonly<Record<string, FeatureBit>> = { MAX_LENGTH }
  readonly featureDependencies: readonly FeatureDependency[] = []
  /** Descriptors of each queue, by index. */
  readonly queueSizes: readonly number[] = [64]
  /** The device configuration space, little-endian, and what is in it. */
  readonly config: Uint8Array
  readonly configFields: readonly ConfigField[] = [{ name: 'max_length', offset: 0, width: 4, features: [MAX_LENGTH] }]
  readonly classCode: number = 0x00ff00
  /** Questions, as they came. */
  readonly questions: Uint8Array[] = []
  /** What it answers. A test may put a lie here. */
  answer: (question: Uint8Array) => Uint8Array = (question) => question.toReversed()
  #host: DeviceHost | undefined
  #busy = false

  constructor(maxLength: number = 1024) {
    this.config = new Uint8Array(4)
    new DataView(this.config.buffer).setUint32(0, maxLength, true)
  }

  attach(host: DeviceHost): void {
    this.#host = host
  }

  onReset(): void {}

  /** While busy it leaves questions in the ring. */
  set busy(busy: boolean) {
    this.#busy = busy
    this.onNotify(0)
  }

  onNotify(queue: number): void {
    const ring = this.#host?.ring(queue)
    // Change: queues other than the first.
    if (!ring || queue !== 0 || this.#busy) return
    ring.suppressNotifications()
    do {
      for (let chain = ring.take(); chain; chain = ring.take()) {
        const question = chain.read()
        this.questions.push(question)
        ring.push(chain, chain.write(this.answer(question)))
      }
    } while (ring.requestNotifications())
    ring.flush()
  }
}
