import { codeOf } from '@virtio-ts/command-line'
import { setTimeout as sleep } from 'node:timers/promises'
import { type FaultReport, NetDriver, type NetOptions, type NetSettings } from '@virtio-ts/driver-net'
import type { VirtioError } from '@virtio-ts/spec'
import { isLevel, type PortDescription } from '../control/observable.ts'
import { describePort } from './describe-port.ts'
import type { OpenedDevice } from '@virtio-ts/device-locator'

/** Longest time frames already in the ring get to leave when a session ends. */
const drainMilliseconds = 2000
/** Pauses before each attempt to bring a failed device back; after the last one a device that cannot come back is given up. */
const recoveryPauses: readonly number[] = [0, 100, 400, 1600, 6400]
/** A device that has worked this long since its last reset starts with the shortest pause again. */
const calmMilliseconds = 10_000

export type PortEvent =
  | { readonly event: 'fault'; readonly code: string; readonly message: string }
  | { readonly event: 'reset'; readonly reason: string }

/** What is on the other side of the driver: it is connected to each driver that is opened, and disconnected when that fails. */
export interface PortUser {
  /** What the driver is to be opened with; asked each time. @param handsOver queues may be given to other threads */
  driverOptions(handsOver: boolean): NetOptions
  /** Lets frames pass. What it throws closes the driver. */
  connect(driver: NetDriver): void | Promise<void>
  /**
   * No frame is to be taken from this driver or given to it any more; resolves when nobody uses its memory. The device's link counts as
   * down.
   * @param reason the device has failed: frames in the rings are not waited for
   */
  disconnect(reason?: FaultReport): void | Promise<void>
  /** Takes no more frames to send, for good: what is in the ring leaves. */
  stopTransmit(): void
  event(event: PortEvent): void
}

/**
 * One device and its driver, which is brought up again when the device fails or, where devices come back, when it has gone.
 */
export class DevicePort {
  readonly #locator: string
  readonly #device: OpenedDevice
  readonly #user: PortUser
  #driver!: NetDriver
  /** What happens to this driver is expected, or known already. */
  #suspended: NetDriver | undefined
  #state: PortDescription['state'] = 'running'
  /** Counters of the drivers before this one. */
  #past: Record<string, number> = {}
  #resets = 0
  #attempts = 0
  #runningSince = 0
  #stopping: Promise<void> | undefined
  /** Aborted by `stop`, so that it need not wait for a pause between two attempts, or for a device to come back. */
  readonly #stopSignal = new AbortController()
  #recovery: Promise<void> = Promise.resolve()
  #end!: (reason: Error) => void
  /** Resolves with the reason when the device cannot be used any more; `stop` is still the caller's to call. */
  readonly ended: Promise<Error> = new Promise((resolve) => {
    this.#end = resolve
  })

  private constructor(locator: string, device: OpenedDevice, user: PortUser) {
    this.#locator = locator
    this.#device = device
    this.#user = user
  }

  /**
   * @param locator how the device was named; for people
   * @param signal gives up waiting for a device that will connect to us
   * @throws VirtioError, PciError, or what `connect` throws; the device is still the caller's to release then
   */
  static async open(locator: string, device: OpenedDevice, user: PortUser, signal: AbortSignal): Promise<DevicePort> {
    const port = new DevicePort(locator, device, user)
    await port.#openDriver(false, signal)
    return port
  }

  /** While the device is recovering, the driver that failed. */
  get driver(): NetDriver {
    return this.#driver
  }

  describe(): PortDescription {
    return describePort(this.#locator, this.#state, this.#device.identity, this.#driver)
  }

  /** The driver's counters, those of earlier drivers added, and `resets`. */
  stats(): Record<string, number> {
    return { resets: this.#resets, ...this.#sum() }
  }

  /** Lets the frames in the ring leave (2 s at most), resets the device and releases it. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  /**
   * Closes the driver and opens it again, with what `driverOptions` says now. Never rejects: a device that does not come back ends the
   * port, or is waited for.
   * @param reason told as that of the `reset` event
   */
  reopen(reason: string): Promise<void> {
    const before = this.#recovery
    this.#recovery = before.then(async () => {
      if (this.#stopping || this.#state !== 'running') return
      await this.#suspend()
      this.#attempts = 0
      await this.#bringUp(reason, new Error(`${this.#locator} was to be opened again`))
    })
    return this.#recovery
  }

  /** Resolves when what `reopen` has begun is done. */
  get settled(): Promise<void> {
    return this.#recovery
  }

  async #openDriver(wait: boolean, signal: AbortSignal, settings?: NetSettings): Promise<void> {
    const transport = await this.#device.attach({ wait, signal })
    const options = this.#user.driverOptions(this.#device.handsOverQueues)
    const driver = await NetDriver.open(transport, { ...options, ...(settings ? { settings } : {}) })
    try {
      await this.#user.connect(driver)
    } catch (error) {
      await this.#user.disconnect()
      await driver.close()
      throw error
    }
    this.#driver = driver
    this.#runningSince = performance.now()
    // Last: a fault that came meanwhile is told now, to a port that is complete.
    driver.on('fault', (reason) => {
      if (driver !== this.#suspended) this.#recovery = this.#recover(reason)
    })
  }

  async #recover(reason: VirtioError): Promise<void> {
    if (this.#stopping) return
    this.#tellFault(reason)
    await this.#suspend(reason)
    if (reason.code === 'device.gone' && !this.#device.reconnects) return this.#end(reason)
    if (performance.now() - this.#runningSince > calmMilliseconds) this.#attempts = 0
    await this.#bringUp(reason.code, reason)
  }

  async #bringUp(reason: string, failure: Error): Promise<void> {
    // Where its reset was not confirmed, the memory is set aside by now; the next initialisation resets it again.
    await this.#driver.close().catch(() => {})
    let last = failure
    while (this.#device.reconnects || this.#attempts < recoveryPauses.length) {
      const pause = recoveryPauses[Math.min(this.#attempts++, recoveryPauses.length - 1)]
      await sleep(pause, undefined, { signal: this.#stopSignal.signal }).catch(() => {})
      if (this.#stopping) return
      try {
        await this.#openNext()
        return this.#user.event({ event: 'reset', reason })
      } catch (error) {
        if (this.#stopping) return
        const next = error instanceof Error ? error : new Error(String(error))
        // One that fails in the same way again and again says so once.
        if (this.#device.reconnects && next.message !== last.message) this.#tellFault(next)
        last = next
        if (codeOf(next) === 'device.gone' && !this.#device.reconnects) break
      }
    }
    this.#end(last)
  }

  async #suspend(reason?: FaultReport): Promise<void> {
    this.#state = 'recovering'
    this.#suspended = this.#driver
    await this.#user.disconnect(reason)
  }

  async #openNext(): Promise<void> {
    const past = this.#sum()
    await this.#openDriver(this.#device.reconnects, this.#stopSignal.signal, settingsOf(this.#driver))
    this.#past = past
    this.#resets++
    this.#state = 'running'
  }

  #tellFault(failure: Error): void {
    this.#user.event({ event: 'fault', code: codeOf(failure) ?? failure.name, message: failure.message })
  }

  #sum(): Record<string, number> {
    const sums = { ...this.#driver.stats() }
    for (const [name, value] of Object.entries(this.#past)) if (!isLevel(name)) sums[name] = (sums[name] ?? 0) + value
    return sums
  }

  async #stop(): Promise<void> {
    this.#stopSignal.abort()
    await this.#recovery
    this.#state = 'stopping'
    try {
      this.#user.stopTransmit()
      await this.#driver.drain(drainMilliseconds)
      await this.#user.disconnect()
      await this.#driver.close()
    } finally {
      await this.#device.release()
    }
  }
}

/** What the next driver is to tell the device: all this one has, and its address where the device has none of its own. */
function settingsOf(driver: NetDriver): NetSettings {
  const { queuePairs: _, ...settings } = driver.settings()
  return driver.features.has('MAC') ? settings : { ...settings, mac: driver.mac }
}
