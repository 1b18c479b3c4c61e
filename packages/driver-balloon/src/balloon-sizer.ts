import type { VirtioDevice } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { BalloonConfig, type BalloonFeatureName, type BalloonQueueName } from '@virtio-ts/spec'
import type { BalloonEventListeners } from './balloon-events.ts'
import { littleEndian } from './balloon-spec.ts'
import type { GuardedSource } from './guarded-source.ts'

export interface SizerOptions {
  readonly device: VirtioDevice<BalloonFeatureName, BalloonQueueName>
  readonly source: GuardedSource
  readonly events: BalloonEventListeners
  readonly maxPages: number
  readonly retryInterval: number
}

/** Pages in one request, as Linux has it. */
const BATCH = 256

/**
 * Brings the number of pages in the balloon to what the device wants, one request after the other.
 * @see VIRTIO 1.3 § 5.5.6 "Device Operation"
 */
export class BalloonSizer {
  readonly #options: SizerOptions
  readonly #memory: DmaRegion
  /** Pages in the balloon; the last in is the first out. */
  readonly #pages: number[] = []
  /** Pages of a request that the device has not acknowledged. */
  #inTransit: readonly number[] = []
  /** Pages that the device was told of, and that are not given back yet. */
  readonly #held: number[] = []
  #target = 0
  #limit: number
  #turn: Promise<void> = Promise.resolve()
  #scheduled = false
  #wasShort = false
  #retry: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: SizerOptions) {
    this.#options = options
    this.#limit = options.maxPages
    this.#memory = options.device.allocate(4 * BATCH)
  }

  /** Pages the device wants. */
  get target(): number {
    return this.#target
  }

  /** Pages in the balloon, as the device has acknowledged them. */
  get actual(): number {
    return this.#pages.length
  }

  /** Pages in the balloon at most, as far as its device lets them out. */
  get limit(): number {
    return this.#limit
  }

  set limit(pages: number) {
    this.#limit = pages
    this.wake()
  }

  /** Looks at the target, and goes there. */
  wake(): void {
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    void this.#inTurn(() => {
      this.#scheduled = false
      return this.#adjust()
    }).catch(() => this.#retryLater())
  }

  /** Takes pages out of the balloon, whatever the device wants. @returns how many */
  release(most: number): Promise<number> {
    return this.#inTurn(async () => {
      let released = 0
      while (released < most && this.#pages.length > 0 && !this.#options.device.fault)
        released += await this.#deflate(most - released)
      return released
    })
  }

  /** Tells the device that all pages are taken out, before its reset. They are for `takeAll`: nobody uses them until then. */
  empty(): Promise<void> {
    return this.#inTurn(async () => {
      while (this.#pages.length > 0 && !this.#options.device.fault)
        await this.#deflate(BATCH, (pages) => this.#held.push(...pages))
    })
  }

  /** No more pages are asked for; what is under way goes on. */
  stop(): void {
    this.#stopped = true
    clearTimeout(this.#retry)
  }

  /** After the end: the pages whose owner the device was. */
  takeAll(): readonly number[] {
    const all = [...this.#pages.splice(0), ...this.#inTransit, ...this.#held.splice(0)]
    this.#inTransit = []
    return all
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(act)
    this.#turn = done.then(
      () => {},
      () => {},
    )
    return done
  }

  async #adjust(): Promise<void> {
    const { device } = this.#options
    clearTimeout(this.#retry)
    while (!this.#stopped && !device.fault) {
      await this.#readTarget()
      const missing = this.#wanted() - this.actual
      if (missing === 0) break
      if (missing < 0) await this.#deflate(-missing)
      else if ((await this.#inflate(missing)) === 0) return this.#short(missing)
      // A device may change its mind for ever: others have their turn in between.
      await new Promise((resolve) => setImmediate(resolve))
    }
    this.#wasShort = false
  }

  /** VIRTIO 1.3 § 5.5.6.1 "Driver Requirements: Device Operation": without DEFLATE_ON_OOM nothing comes out that the device wants. */
  #wanted(): number {
    const wanted = Math.min(this.#target, this.#limit)
    if (this.#options.device.features.has('DEFLATE_ON_OOM')) return wanted
    return Math.max(wanted, Math.min(this.#target, this.actual))
  }

  async #readTarget(): Promise<void> {
    const { device, events } = this.#options
    const target = await device.config.read32(BalloonConfig.NUM_PAGES)
    if (target === this.#target) return
    this.#target = target
    events.target.call(target)
  }

  async #inflate(most: number): Promise<number> {
    const { device, source } = this.#options
    const pages = source.take(Math.min(most, BATCH))
    if (pages.length === 0) return 0
    this.#inTransit = pages
    await this.#request('inflateq', pages)
    this.#inTransit = []
    for (const page of pages) this.#pages.push(page)
    await this.#tellActual()
    return device.fault ? 0 : pages.length
  }

  async #deflate(most: number, give = (pages: readonly number[]) => this.#options.source.give(pages)): Promise<number> {
    const pages = this.#pages.slice(-Math.min(most, BATCH))
    if (pages.length === 0) return 0
    this.#pages.length -= pages.length
    const told = this.#request('deflateq', pages)
    if (this.#options.device.features.has('MUST_TELL_HOST')) {
      // VIRTIO 1.3 § 5.5.6.1 "Driver Requirements: Device Operation": not to be used before the device has acknowledged it.
      this.#inTransit = pages
      await told
      this.#inTransit = []
      give(pages)
    } else {
      give(pages)
      await told
    }
    await this.#tellActual()
    return pages.length
  }

  /** VIRTIO 1.3 § 5.5.6 "Device Operation": addresses divided by 4096, 32 bits each. The used length means nothing. */
  async #request(queue: 'inflateq' | 'deflateq', pages: readonly number[]): Promise<void> {
    const view = new DataView(this.#memory.bytes.buffer, this.#memory.bytes.byteOffset, this.#memory.length)
    for (const [index, page] of pages.entries()) view.setUint32(4 * index, page, true)
    const buffer = { region: this.#memory, offset: 0, length: 4 * pages.length }
    await this.#options.device.requestQueue(queue).request({ readable: [buffer] })
  }

  /** VIRTIO 1.3 § 5.5.6.2.1 "Legacy Interface: Device Operation": four bytes in one access. */
  async #tellActual(): Promise<void> {
    const { device, events } = this.#options
    if (device.fault) return
    await device.config.write(BalloonConfig.ACTUAL, littleEndian(this.actual))
    events.actual.call(this.actual)
  }

  #short(missing: number): void {
    if (!this.#wasShort) this.#options.events.short.call(missing)
    this.#wasShort = true
    this.#retryLater()
  }

  #retryLater(): void {
    if (this.#stopped || this.#options.device.fault) return
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => this.wake(), this.#options.retryInterval)
    this.#retry.unref()
  }
}
