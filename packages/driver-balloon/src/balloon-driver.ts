import {
  type DeviceDescription,
  initialize,
  type NegotiatedFeatures,
  type Transport,
  type VirtioDevice,
} from '@virtio-ts/core'
import { type BalloonFeatureName, type BalloonQueueName, VirtioError } from '@virtio-ts/spec'
import { type BalloonEventListeners, type BalloonEvents, balloonEventListeners } from './balloon-events.ts'
import { type BalloonOptions, checkBalloonOptions } from './balloon-options.ts'
import { BalloonSizer } from './balloon-sizer.ts'
import { balloonSpecFor, uselessFeatures } from './balloon-spec.ts'
import { StatisticsEncoder } from './balloon-statistics.ts'
import { FreePageHinter } from './free-page-hinter.ts'
import { FreePageReporter } from './free-page-reporter.ts'
import { GuardedSource } from './guarded-source.ts'
import { StatisticsQueue } from './statistics-queue.ts'

const requestQueues = ['inflateq', 'deflateq', 'free_page_vq', 'reporting_vq'] as const

/**
 * Driver for the memory balloon: gives the device the pages it wants, out of a source that is the caller's, and takes them back.
 * Everything is counted in pages of 4096 bytes.
 *
 * @example
 * ```ts
 * const balloon = await BalloonDriver.open(transport, { pages, statistics: () => ({ free: os.freemem() }) })
 * balloon.on('actual', (count) => console.log(`${count} pages in the balloon`))
 * ```
 * @see VIRTIO 1.3 § 5.5 "Traditional Memory Balloon Device"
 */
export class BalloonDriver implements AsyncDisposable {
  readonly #device: VirtioDevice<BalloonFeatureName, BalloonQueueName>
  readonly #events: BalloonEventListeners = balloonEventListeners()
  readonly #source: GuardedSource
  readonly #sizer: BalloonSizer
  readonly #statistics: StatisticsQueue | undefined
  readonly #hinter: FreePageHinter | undefined
  readonly #reporter: FreePageReporter | undefined
  readonly #closeTimeout: number
  #reportTimer: NodeJS.Timeout | undefined
  #watchdog: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined

  private constructor(
    device: VirtioDevice<BalloonFeatureName, BalloonQueueName>,
    options: BalloonOptions,
    encoder: StatisticsEncoder | undefined,
  ) {
    const { statistics: collect, maxPages = 0xffffffff, retryInterval = 1000 } = options
    this.#device = device
    this.#closeTimeout = options.closeTimeout ?? 2000
    const poison = device.features.has('PAGE_POISON') ? options.poison : undefined
    const source = new GuardedSource(options.pages, poison, this.#events, device.location)
    this.#source = source
    // First of all: the device is owed a buffer from the beginning.
    if (collect && encoder && device.hasQueue('statsq'))
      this.#statistics = new StatisticsQueue({ device, encoder, collect, events: this.#events })
    this.#sizer = new BalloonSizer({ device, source, events: this.#events, maxPages, retryInterval })
    this.#hinter = device.hasQueue('free_page_vq') ? new FreePageHinter(device, source) : undefined
    this.#reporter = device.hasQueue('reporting_vq') ? new FreePageReporter(device, source) : undefined
    device.onConfigChange(() => this.#look())
    device.onFault((reason) => {
      this.#stop()
      this.#events.fault.call(reason)
    })
    if (device.fault) return
    this.#reportTimer =
      this.#reporter && every(options.reportInterval ?? 2000, () => void this.report().catch(() => {}))
    // A notification that got lost costs no more than this.
    if (device.interrupts !== 'none') this.#watchdog = every(options.watchdog ?? 1000, () => this.#service())
    this.#look()
  }

  /**
   * Initialises the device, takes the transport over, and begins to give pages.
   * @throws RangeError for options that cannot be; what `statistics` throws; VirtioError of `initialize()`
   */
  static async open(transport: Transport, options: BalloonOptions): Promise<BalloonDriver> {
    checkBalloonOptions(options)
    const spec = balloonSpecFor(options)
    let encoder: StatisticsEncoder | undefined
    const device = await initialize(
      transport,
      {
        ...spec,
        // Collected before the device is live, as it is owed the first statistics from then on.
        prepare: async (features, config) => {
          if (options.statistics && features.has('STATS_VQ'))
            encoder = new StatisticsEncoder(await options.statistics())
          await spec.prepare?.(features, config)
        },
      },
      { ...options, withoutFeatures: [...(options.withoutFeatures ?? []), ...uselessFeatures(options)] },
    )
    try {
      return new BalloonDriver(device, options, encoder)
    } catch (error) {
      await device.close().catch(() => {})
      throw error
    }
  }

  /** Pages the device wants. */
  get target(): number {
    return this.#sizer.target
  }

  /** Pages in the balloon. */
  get actual(): number {
    return this.#sizer.actual
  }

  /** Pages in the balloon at most, whatever the device wants. */
  get limit(): number {
    return this.#sizer.limit
  }

  /**
   * Sets another limit, and goes there: more pages come in as far as the device wants them, and pages above it come out where
   * DEFLATE_ON_OOM was negotiated. Without, those stay until the device does not want them any more; none are added.
   * @throws RangeError for what is no number of pages
   * @see VIRTIO 1.3 § 5.5.6.1 "Driver Requirements: Device Operation"
   */
  setLimit(pages: number): void {
    if (!Number.isInteger(pages) || pages < 0 || pages > 0xffffffff) throw new RangeError(`a limit of ${pages} pages`)
    this.#sizer.limit = pages
  }

  get features(): NegotiatedFeatures<BalloonFeatureName> {
    return this.#device.features
  }

  /** A `fault` listener that comes after the fault is called soon. @returns a function that takes the listener off again */
  on<Event extends keyof BalloonEvents>(event: Event, listener: BalloonEvents[Event]): () => void {
    const fault = this.#device.fault
    if (event === 'fault' && fault && !this.#closing) queueMicrotask(() => (listener as BalloonEvents['fault'])(fault))
    const listeners = this.#events[event] as unknown as { add(listener: BalloonEvents[Event]): () => void }
    return listeners.add(listener)
  }

  /**
   * Takes pages out of the balloon though the device wants them there: for an owner that is out of memory. They stay out until the device
   * changes its target, or `setLimit()` is called. Without DEFLATE_ON_OOM only as many as the device can do without.
   * Rejects with VirtioError `balloon.deflate-forbidden`, or the device's fault.
   * @param most pages
   * @returns how many came out
   * @see VIRTIO 1.3 § 5.5.6.1 "Driver Requirements: Device Operation"
   */
  async release(most: number): Promise<number> {
    if (!Number.isInteger(most) || most < 0) throw new RangeError(`${most} pages`)
    if (this.#device.fault) throw this.#device.fault
    const spare = Math.max(0, this.actual - this.target)
    if (!this.#device.features.has('DEFLATE_ON_OOM') && most > spare) {
      throw new VirtioError(
        'balloon.deflate-forbidden',
        `${this.#device.location} did not negotiate DEFLATE_ON_OOM, so only ${spare} pages may be taken from the balloon, not ${most}`,
        { device: this.#device.location, detail: { spare, wanted: most } },
      )
    }
    return this.#sizer.release(most)
  }

  /**
   * Reports free memory now, as far as it was not reported. Rejects with the device's fault.
   * @returns bytes; 0 where the device does not take reports
   */
  async report(): Promise<number> {
    if (this.#device.fault) throw this.#device.fault
    return (await this.#reporter?.report()) ?? 0
  }

  /** Looks after everything once. With `interrupts: 'none'` the owner calls it again and again; otherwise nobody has to. */
  poll(): void {
    this.#service()
  }

  /** Counters since the driver was opened. */
  stats(): Readonly<Record<string, number>> {
    return {
      target: this.target,
      actual: this.actual,
      statistics_told: this.#statistics?.told ?? 0,
      hint_rounds: this.#hinter?.rounds ?? 0,
      reported_bytes: this.#reporter?.bytes ?? 0,
    }
  }

  describe(): DeviceDescription {
    return this.#device.describe()
  }

  /**
   * Takes all pages back, resets the device and gives them to their source. Where the device does not confirm its reset, they are
   * abandoned. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  readonly [Symbol.asyncDispose]: () => Promise<void> = () => this.close()

  async #close(): Promise<void> {
    this.#stop()
    if (!this.#device.fault && this.actual > 0) await this.#empty()
    try {
      await this.#device.close()
    } catch (error) {
      this.#source.abandon(this.#sizer.takeAll())
      this.#source.abandonFree(this.#takeFree())
      throw error
    }
    // The device has forgotten all of it.
    this.#source.give(this.#sizer.takeAll())
    this.#source.giveFree(this.#takeFree(), 'lost')
  }

  /** Takes the pages out in order, so that the device's count is right, if it answers in time. */
  async #empty(): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((resolve) => (timer = setTimeout(resolve, this.#closeTimeout)))
    await Promise.race([this.#sizer.empty().catch(() => {}), late])
    clearTimeout(timer)
  }

  #takeFree(): NonNullable<ReturnType<FreePageHinter['takeAll']>> {
    return [...(this.#hinter?.takeAll() ?? []), ...(this.#reporter?.takeAll() ?? [])]
  }

  #look(): void {
    this.#sizer.wake()
    // What it fails with is the device's fault, which is told.
    void this.#hinter?.look().catch(() => {})
  }

  #service(): void {
    if (this.#device.fault) return
    this.#statistics?.service()
    for (const queue of requestQueues) if (this.#device.hasQueue(queue)) this.#device.requestQueue(queue).service()
    void this.#device.checkStatus()
  }

  #stop(): void {
    clearInterval(this.#reportTimer)
    clearInterval(this.#watchdog)
    this.#sizer.stop()
  }
}

function every(interval: number, act: () => void): NodeJS.Timeout | undefined {
  return interval > 0 ? setInterval(act, interval).unref() : undefined
}
