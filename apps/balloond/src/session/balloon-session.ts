import { codeOf } from '@virtio-ts/command-line'
import type { OpenedDevice } from '@virtio-ts/device-locator'
import { BalloonDriver, DmaPageSource } from '@virtio-ts/driver-balloon'
import type { MemoryMonitor, MemoryReading } from '../machine/memory-monitor.ts'
import { type BalloonLimits, decide, initialState, type PolicyState } from '../policy/decide.ts'
import type { BalloonEvent } from './balloon-event.ts'

const PAGE = 4096

export interface SessionOptions {
  /** The locator, for the first event. */
  readonly name: string
  readonly limits: BalloonLimits
  /** Milliseconds between two decisions. */
  readonly interval: number
  readonly dryRun: boolean
  /** Bytes kept as free memory. */
  readonly free: number
}

/** A balloon that follows its device as far as the policy lets it. */
export class BalloonSession {
  readonly #device: OpenedDevice
  readonly #driver: BalloonDriver
  readonly #source: DmaPageSource
  readonly #monitor: MemoryMonitor
  readonly #options: SessionOptions
  readonly #report: (event: BalloonEvent) => void
  /** Rejects with what made the device useless; never settles otherwise. */
  readonly failed: Promise<never>
  #state: PolicyState = initialState
  /** Pages in the balloon, as was reported last; in a dry run, as they would be. */
  #told = 0
  #limit = 0
  #blind = false
  #timer: NodeJS.Timeout | undefined
  #due = 0
  #turn: Promise<void> = Promise.resolve()
  #stopping: Promise<void> | undefined

  /** Opens the driver and begins. The device is the session's from now on. @throws VirtioError of the driver */
  static async open(
    device: OpenedDevice,
    monitor: MemoryMonitor,
    options: SessionOptions,
    report: (event: BalloonEvent) => void,
    signal: AbortSignal,
  ): Promise<BalloonSession> {
    try {
      const transport = await device.attach({ wait: false, signal })
      const source = new DmaPageSource(transport.dma, { free: options.dryRun ? 0 : options.free })
      const driver = await BalloonDriver.open(transport, {
        pages: source,
        statistics: () => monitor.statistics(),
        // Nothing goes in before the first decision.
        maxPages: 0,
      })
      const session = new BalloonSession(device, driver, source, monitor, options, report)
      session.#begin()
      return session
    } catch (error) {
      await device.release().catch(() => {})
      throw error
    }
  }

  private constructor(
    device: OpenedDevice,
    driver: BalloonDriver,
    source: DmaPageSource,
    monitor: MemoryMonitor,
    options: SessionOptions,
    report: (event: BalloonEvent) => void,
  ) {
    this.#device = device
    this.#driver = driver
    this.#source = source
    this.#monitor = monitor
    this.#options = options
    this.#report = report
    this.failed = new Promise((_, reject) => driver.on('fault', reject))
    // It may be that nobody waits for it.
    this.failed.catch(() => {})
  }

  /** Takes all memory back, resets the device and lets go of what carries it. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  #begin(): void {
    const driver = this.#driver
    const { transport, vectors } = driver.describe()
    const { name: device, dryRun } = this.#options
    const pressure = this.#monitor.pressurePath ?? null
    this.#report({ event: 'ready', device, features: driver.features.names, transport, vectors, pressure, dryRun })
    if (!driver.features.has('DEFLATE_ON_OOM'))
      this.#warn(
        'balloon.deflate-forbidden',
        'the device does not allow memory to be taken back under pressure (no DEFLATE_ON_OOM): the balloon only stops growing then',
      )
    driver.on('target', (pages) => this.#targetChanged(pages))
    driver.on('actual', () => this.#settle())
    driver.on('short', (pages) => this.#report({ event: 'short', missing: pages * PAGE }))
    driver.on('source-failed', ({ code, message }) => this.#warn(code, message))
    if (driver.target > 0) this.#report({ event: 'target', target: driver.target * PAGE })
    this.#decideSoon()
  }

  #targetChanged(pages: number): void {
    this.#report({ event: 'target', target: pages * PAGE })
    this.#decideSoon()
  }

  /** Decides, as soon as the interval since the last decision is over. */
  #decideSoon(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#decideNow(), Math.max(0, this.#due - performance.now()))
  }

  #decideNow(): void {
    this.#due = performance.now() + this.#options.interval
    this.#turn = this.#turn
      .then(() => this.#decide())
      .catch((error: Error) => this.#warn(codeOf(error) ?? 'balloon.policy', error.message))
      .then(() => {
        if (!this.#stopping) this.#decideSoon()
      })
  }

  async #decide(): Promise<void> {
    const reading = await this.#look()
    if (this.#stopping) return
    const driver = this.#driver
    const { limits, dryRun } = this.#options
    const actual = dryRun ? this.#told : driver.actual
    const mayDeflate = driver.features.has('DEFLATE_ON_OOM')
    // Who cannot see does not move: as between high and low.
    const pressure = reading ? reading.pressure?.some : (limits.low + limits.high) / 2
    const available = reading?.available
    const seen = { target: driver.target, actual, mayDeflate, pressure, available }
    const before = this.#state.pressed
    const { limit, state } = decide(this.#state, seen, limits)
    this.#state = state
    if (state.pressed !== before)
      this.#report({
        event: 'pressure',
        pressed: state.pressed,
        ...(pressure === undefined ? {} : { some: pressure }),
        ...(available === undefined ? {} : { available }),
      })
    this.#limit = limit
    if (dryRun) return this.#tell(limit)
    this.#tell(actual)
    driver.setLimit(limit)
  }

  /** @returns undefined where nothing can be seen, which is told once */
  async #look(): Promise<MemoryReading | undefined> {
    try {
      const reading = await this.#monitor.read()
      this.#blind = false
      return reading
    } catch (error) {
      if (!this.#blind) this.#warn(codeOf(error) ?? 'pressure.unreadable', (error as Error).message)
      this.#blind = true
      return undefined
    }
  }

  /** Every request of the driver makes another size; what is told is where it comes to rest. */
  #settle(): void {
    const { actual, target } = this.#driver
    if (actual === Math.min(target, this.#limit)) this.#tell(actual)
  }

  #tell(pages: number): void {
    const by = (pages - this.#told) * PAGE
    if (by === 0) return
    this.#told = pages
    const target = this.#driver.target * PAGE
    const { dryRun } = this.#options
    this.#report({
      event: by > 0 ? 'inflated' : 'deflated',
      by: Math.abs(by),
      balloon: pages * PAGE,
      target,
      dryRun,
    })
  }

  #warn(code: string, message: string): void {
    this.#report({ event: 'warning', code, message })
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#timer)
    await this.#turn
    clearTimeout(this.#timer)
    try {
      await this.#driver.close()
      if (!this.#options.dryRun) this.#tell(this.#source.taken)
      this.#source.release()
    } finally {
      await this.#device.release()
    }
  }
}
