import { setTimeout as sleep } from 'node:timers/promises'
import { NetDriver, RECEIVED_HEAD_LENGTH } from '@virtio-ts/driver-net'
import { isVirtioError, type VirtioError } from '@virtio-ts/spec'
import { Tap, type TapQueue } from '@virtio-ts/tap'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import type { PacketTap } from '../capture/packet-tap.ts'
import type { Observable, SessionDescription } from '../control/observable.ts'
import { formatMac, parseMac } from '../packets/ethernet-frame.ts'
import { announce } from './announce.ts'
import { describeSession, identifyFunction } from './describe-session.ts'
import { FrameTap } from './frame-tap.ts'
import { FromDevice } from './from-device.ts'
import type { OpenedDevice } from './opened-device.ts'
import { SessionCounters } from './session-counters.ts'
import type { SessionEvent } from './session-event.ts'
import { TapLoop } from './tap-loop.ts'
import { largestFrame, offloadNames, tapOffloads } from './tap-offloads.ts'
import { ToDevice } from './to-device.ts'

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
}

/** Longest time frames already in the ring get to leave when a session ends. */
const drainMilliseconds = 2000
/** Pauses before each attempt to bring a failed device back; after the last one the session gives up. */
const recoveryPauses: readonly number[] = [0, 100, 400, 1600, 6400]
/** A device that has worked this long since its last reset starts with the shortest pause again. */
const calmMilliseconds = 10_000

/** One device given to the OS as one TAP interface, until stopped or until either of them is gone. */
export class NetSession implements Observable {
  readonly #options: SessionOptions
  readonly #device: OpenedDevice
  readonly #identity: SessionDescription['function']
  readonly #tap: Tap
  readonly #onEvent: (event: SessionEvent) => void
  readonly #counters = new SessionCounters()
  readonly #frames = new FrameTap()
  // An ArrayBuffer of its own: a small typed array may live on the heap, where the collector moves it.
  readonly #head = new Uint8Array(new ArrayBuffer(RECEIVED_HEAD_LENGTH))
  #driver!: NetDriver
  #loop!: TapLoop
  #state: SessionDescription['state'] = 'running'
  #attempts = 0
  #runningSince = 0
  #stopping: Promise<void> | undefined
  /** Aborted by `stop`, so that it need not wait for a pause between two attempts. */
  readonly #stopSignal = new AbortController()
  #recovery: Promise<void> = Promise.resolve()
  #end!: (reason: Error) => void
  /** Resolves with the reason when the session cannot go on; `stop` is still the caller's to call. */
  readonly ended: Promise<Error> = new Promise((resolve) => {
    this.#end = resolve
  })

  private constructor(options: SessionOptions, device: OpenedDevice, tap: Tap, onEvent: (event: SessionEvent) => void) {
    this.#options = options
    this.#device = device
    this.#identity = identifyFunction(device.fn)
    this.#tap = tap
    this.#onEvent = onEvent
  }

  /**
   * Makes the TAP first: most of what can be missing is missing there, and then no device has been touched.
   * @throws TapError, VirtioError, QemuError, PciError; nothing is left open then
   */
  static async open(
    options: SessionOptions,
    openDevice: () => Promise<OpenedDevice>,
    onEvent: (event: SessionEvent) => void,
  ): Promise<NetSession> {
    const tap = Tap.open({ name: options.tap })
    let device: OpenedDevice | undefined
    try {
      device = await openDevice()
      const session = new NetSession(options, device, tap, onEvent)
      await session.#start()
      return session
    } catch (error) {
      tap.close()
      await device?.release()
      throw error
    }
  }

  get tapName(): string {
    return this.#tap.name
  }

  describe(): SessionDescription {
    const tap = {
      name: this.#tap.name,
      up: !this.#tap.gone && this.#tap.up,
      offloads: offloadNames(tapOffloads(this.#driver)),
    }
    return describeSession(this.#options.locator, this.#state, this.#identity, this.#driver, tap)
  }

  stats(): Record<string, number> {
    return { ...this.#counters.snapshot(), ...this.#driver.stats() }
  }

  attachCapture(sink: PacketTap): () => void {
    return this.#frames.attach(sink)
  }

  /** Stops taking frames, lets those in the ring leave (2 s at most), resets the device, takes the TAP down. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  async #start(): Promise<void> {
    await this.#openDriver()
    this.#tap.onGone((reason) => {
      this.#loop.stop()
      this.#end(reason)
    })
    this.#tap.onChange(({ mtu }) => {
      // A frame longer than the device takes would be lost: the interface must not promise it.
      if (mtu > this.#driver.mtu) this.#setTap(() => this.#tap.setMtu(this.#driver.mtu))
    })
    const { device } = this.describe()
    this.#onEvent({
      event: 'ready',
      device: this.#options.locator,
      tap: this.#tap.name,
      mac: formatMac(this.#driver.mac),
      features: device.features,
      transport: device.transport,
      vectors: device.vectors,
    })
  }

  async #openDriver(): Promise<void> {
    const { mac, mtu, poll, withoutFeatures } = this.#options
    const transport = await VirtioPciDriver.attach(this.#device.fn)
    const driver = await NetDriver.open(transport, {
      withoutFeatures,
      interrupts: poll ? 'none' : 'auto',
      head: this.#head,
      ...(mac === undefined ? {} : { mac: parseMac(mac) }),
      ...(mtu === undefined ? {} : { mtu }),
    })
    this.#driver = driver
    try {
      const offloads = tapOffloads(driver)
      this.#tap.setOffloads(offloads)
      this.#tap.setMtu(driver.mtu)
      this.#tap.setMac(driver.mac)
      this.#tap.setUp(true)
      this.#tap.setCarrier(driver.link.up)
      const queue = this.#tap.queues[0] as TapQueue
      const fromDevice = new FromDevice(driver, queue, this.#counters, this.#frames, this.#head)
      const toDevice = new ToDevice(driver, queue, this.#counters, this.#frames, largestFrame(offloads, driver.mtu))
      this.#loop = new TapLoop(driver, queue, fromDevice, toDevice, poll)
      this.#listen(driver)
      this.#loop.start()
      this.#runningSince = performance.now()
      // Last: a fault that came meanwhile is told now, to a session that is complete.
      driver.on('fault', (reason) => {
        this.#recovery = this.#recover(reason)
      })
    } catch (error) {
      await driver.close()
      throw error
    }
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

  /** A device that is gone ends the session; one that failed is reset and brought up again. */
  async #recover(reason: VirtioError): Promise<void> {
    if (this.#stopping) return
    this.#state = 'recovering'
    this.#loop.stop()
    this.#onEvent({ event: 'fault', code: reason.code, message: reason.message })
    if (reason.code === 'device.gone') return this.#end(reason)
    this.#setTap(() => this.#tap.setCarrier(false))
    let last: unknown = reason
    if (performance.now() - this.#runningSince > calmMilliseconds) this.#attempts = 0
    while (this.#attempts < recoveryPauses.length) {
      await sleep(recoveryPauses[this.#attempts++], undefined, { signal: this.#stopSignal.signal }).catch(() => {})
      if (this.#stopping) return
      try {
        // Where its reset was not confirmed, the memory is set aside by now; the next initialisation resets it again.
        await this.#driver.close().catch(() => {})
        await this.#openDriver()
        this.#counters.resets++
        this.#state = 'running'
        return this.#onEvent({ event: 'reset', reason: reason.code })
      } catch (error) {
        last = error
        if (isVirtioError(error) && error.code === 'device.gone') break
      }
    }
    this.#end(last instanceof Error ? last : reason)
  }

  /** A TAP that was deleted, or moved where we cannot reach it, ends the session; nothing is thrown out of a notification. */
  #setTap(change: () => void): void {
    try {
      change()
    } catch (error) {
      this.#loop.stop()
      this.#end(error as Error)
    }
  }

  async #stop(): Promise<void> {
    this.#stopSignal.abort()
    await this.#recovery
    this.#state = 'stopping'
    try {
      this.#loop.stopTransmit()
      await this.#driver.drain(drainMilliseconds)
      this.#loop.stop()
      await this.#driver.close()
    } finally {
      this.#tap.close()
      await this.#device.release()
    }
  }
}
