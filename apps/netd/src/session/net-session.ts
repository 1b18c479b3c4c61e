import type { FaultReport, NetDriver, NetOptions } from '@virtio-ts/driver-net'
import { Tap } from '@virtio-ts/tap'
import type { SessionDescription } from '../control/observable.ts'
import { formatMac, parseMac } from '../packets/ethernet-frame.ts'
import { announce } from './announce.ts'
import { DevicePort, type PortUser } from './device-port.ts'
import { type FrameListener, FrameTap } from './frame-tap.ts'
import type { HostedSession } from './hosted-session.ts'
import type { OpenedDevice } from '@virtio-ts/device-locator'
import type { SessionEvent } from './session-event.ts'
import { largestFrame, offloadNames, tapOffloads } from './tap-offloads.ts'
import type { Polling } from './tap-loop.ts'
import { TapPairs } from './tap-pairs.ts'

export interface SessionOptions {
  /** How the device was named; for people. */
  readonly locator: string
  /** Name of the TAP interface; `%d` in it is the kernel's to fill. */
  readonly tap: string
  /** To use instead of the device's, `52:54:00:12:34:56`. */
  readonly mac?: string
  readonly mtu?: number
  readonly withoutFeatures: readonly string[]
  readonly poll: boolean
  /** Takes a PCI function of this machine also when a default route goes over it. @defaultValue false */
  readonly force?: boolean
  /** A PCI function that was unplugged is waited for. @defaultValue false */
  readonly wait?: boolean
  /** Pairs of queues wanted. @defaultValue 1 */
  readonly queues?: number
}

/** One device given to the OS as one TAP interface, until stopped or until either of them is gone. */
export class NetSession implements HostedSession, PortUser {
  readonly #options: SessionOptions
  readonly #tap: Tap
  readonly #onEvent: (event: SessionEvent) => void
  readonly #frames: FrameTap = new FrameTap((active) => this.#pairs.capture(active))
  readonly #pairs: TapPairs
  #port!: DevicePort
  /** Further pairs have threads of their own. */
  #threads = false
  #fewerTold = 0
  #connections = 0
  #stopping: Promise<void> | undefined
  #end!: (reason: Error) => void
  readonly ended: Promise<Error> = new Promise((resolve) => {
    this.#end = resolve
  })

  private constructor(options: SessionOptions, tap: Tap, onEvent: (event: SessionEvent) => void) {
    this.#options = options
    this.#tap = tap
    this.#onEvent = onEvent
    this.#pairs = new TapPairs({
      tap,
      frames: this.#frames,
      onCrash: (error) => {
        throw error
      },
    })
  }

  /**
   * Makes the TAP first: most of what can be missing is missing there, and then no device has been touched.
   * @param signal gives up waiting for a device that will connect to us
   * @throws TapError, VirtioError, QemuError, PciError; nothing is left open then
   */
  static async open(
    options: SessionOptions,
    openDevice: () => Promise<OpenedDevice>,
    onEvent: (event: SessionEvent) => void,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<NetSession> {
    const tap = Tap.open({ name: options.tap, queues: options.queues ?? 1 })
    let device: OpenedDevice | undefined
    try {
      device = await openDevice()
      const session = new NetSession(options, tap, onEvent)
      session.#port = await DevicePort.open(options.locator, device, session, signal)
      session.#start()
      return session
    } catch (error) {
      tap.close()
      await device?.release()
      throw error
    }
  }

  get name(): string {
    return this.#tap.name
  }

  describe(): SessionDescription {
    const { driver } = this.#port
    const up = !this.#tap.gone && this.#tap.up
    const tap = { name: this.#tap.name, up, offloads: offloadNames(tapOffloads(driver)) }
    return { ...this.#port.describe(), tap }
  }

  stats(): Record<string, number> {
    const stats = this.#port.stats()
    this.#pairs.addStats(stats)
    return stats
  }

  refresh(): Promise<void> {
    return this.#pairs.refresh()
  }

  attachCapture(listener: FrameListener): () => void {
    return this.#frames.attach(listener)
  }

  /** Stops taking frames, lets those in the ring leave (2 s at most), resets the device, takes the TAP down. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#port.stop().finally(() => this.#tap.close())
    return this.#stopping
  }

  driverOptions(handsOver: boolean): NetOptions {
    const { mac, mtu, poll, queues = 1, withoutFeatures } = this.#options
    this.#threads = handsOver && queues > 1
    return {
      withoutFeatures,
      interrupts: poll ? 'none' : 'auto',
      head: (pair) => this.#pairs.head(pair),
      queuePairs: queues,
      ...(this.#threads ? { transferPairs: 'others' } : {}),
      ...(mac === undefined ? {} : { mac: parseMac(mac) }),
      ...(mtu === undefined ? {} : { mtu }),
    }
  }

  connect(driver: NetDriver): void {
    const offloads = tapOffloads(driver)
    this.#tap.setOffloads(offloads)
    this.#setAddresses(driver)
    this.#tap.setCarrier(driver.link.up)
    const { wanted, device, inUse } = driver.describe().queuePairs
    this.#pairs.start(driver, {
      largest: largestFrame(offloads, driver.mtu),
      count: inUse,
      threads: this.#threads,
      polling: this.#polling(driver),
    })
    if (inUse < wanted && inUse !== this.#fewerTold) {
      this.#fewerTold = inUse
      const why = device > 1 ? `has ${device}` : 'does without several (no MQ)'
      this.#notice(`${wanted} pairs of queues were asked for, the device ${why}: going on with ${inUse}`)
    }
    this.#listen(driver)
  }

  #polling(driver: NetDriver): Polling {
    if (this.#options.poll) return 'always'
    if (driver.describe().interrupts !== 'none') return 'no'
    this.#notice(
      'the device has no interrupts here: it is looked at about every millisecond, and at once while frames move',
    )
    return 'with-pauses'
  }

  async disconnect(reason?: FaultReport): Promise<void> {
    this.#setTap(() => this.#tap.setCarrier(false))
    await this.#pairs.stop(reason)
  }

  stopTransmit(): void {
    this.#pairs.stopTransmit()
  }

  #notice(message: string): void {
    this.#onEvent({ event: 'notice', message })
  }

  event(event: SessionEvent): void {
    this.#onEvent(event)
  }

  /** What its administrator has changed on a running interface stays, as far as the device allows. */
  #setAddresses(driver: NetDriver): void {
    const mac = driver.mac
    if (this.#connections++ === 0) {
      this.#tap.setMtu(driver.mtu)
      this.#tap.setMac(mac)
      this.#tap.setUp(true)
      return
    }
    if (this.#tap.mtu > driver.mtu) this.#tap.setMtu(driver.mtu)
    if (formatMac(mac) !== formatMac(this.#port.driver.mac)) this.#tap.setMac(mac)
  }

  #start(): void {
    void this.#port.ended.then((reason) => this.#end(reason))
    this.#tap.onGone((reason) => this.#fail(reason))
    this.#tap.onChange(({ mtu }) => {
      // A frame longer than the device takes would be lost: the interface must not promise it.
      if (mtu > this.#port.driver.mtu) this.#setTap(() => this.#tap.setMtu(this.#port.driver.mtu))
    })
    const { device, net } = this.#port.describe()
    this.#onEvent({
      event: 'ready',
      device: this.#options.locator,
      tap: this.#tap.name,
      mac: net.mac,
      features: device.features,
      transport: device.transport,
      vectors: device.vectors,
    })
  }

  #listen(driver: NetDriver): void {
    driver.on('link', ({ up }) => {
      this.#setTap(() => this.#tap.setCarrier(up))
      this.#onEvent({ event: 'link', up })
    })
    driver.on('announce', () => {
      this.#onEvent({ event: 'announce', sent: announce(driver, this.#tap.name) })
      // A device that refuses the acknowledgement asks again, or says so by a fault.
      driver.acknowledgeAnnounce().catch(() => {})
    })
  }

  /** A TAP that was deleted, or moved where we cannot reach it, ends the session; nothing is thrown out of a notification. */
  #setTap(change: () => void): void {
    if (this.#tap.gone) return
    try {
      change()
    } catch (error) {
      this.#fail(error as Error)
    }
  }

  #fail(reason: Error): void {
    void this.#pairs.stop()
    this.#end(reason)
  }
}
