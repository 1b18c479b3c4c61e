import { setTimeout as sleep } from 'node:timers/promises'
import { codeOf, CommandError } from '@virtio-ts/command-line'
import type { OpenedDevice } from '@virtio-ts/device-locator'
import { BlockDriver, type BlockOptions } from '@virtio-ts/driver-block'

/** Pauses before each attempt to bring a failed device back; after the last one a device that cannot come back is given up. */
const recoveryPauses: readonly number[] = [0, 100, 400, 1600, 6400]
/** A device that has worked this long since its last reset starts with the shortest pause again. */
const calmMilliseconds = 10_000

export type DiskEvent =
  | { readonly event: 'resize'; readonly capacity: number }
  | { readonly event: 'fault'; readonly code: string; readonly message: string }
  | { readonly event: 'reset'; readonly reason: string }

export interface DiskOptions {
  readonly driver?: BlockOptions
  readonly onEvent: (event: DiskEvent) => void
}

/**
 * One block device and its driver, which is opened again when the device fails or, where devices come back, when it has gone. Nothing is
 * repeated: what was under way then has been rejected.
 */
export class Disk {
  readonly #device: OpenedDevice
  readonly #options: DiskOptions
  #driver!: BlockDriver
  #away = false
  #attempts = 0
  #runningSince = 0
  #begun = 0
  #settled = 0
  #safe = 0
  #losses = 0
  #stopping: Promise<void> | undefined
  #recovery: Promise<void> = Promise.resolve()
  readonly #stopSignal = new AbortController()
  #end!: (reason: Error) => void
  /** Resolves with the reason when the device cannot be used any more; `stop` is still the caller's to call. */
  readonly ended: Promise<Error> = new Promise((resolve) => {
    this.#end = resolve
  })

  private constructor(device: OpenedDevice, options: DiskOptions) {
    this.#device = device
    this.#options = options
  }

  /**
   * @param signal gives up waiting for a device that will connect to us
   * @throws VirtioError, PciError; the device is still the caller's to release then
   */
  static async open(device: OpenedDevice, options: DiskOptions, signal: AbortSignal): Promise<Disk> {
    const disk = new Disk(device, options)
    await disk.#openDriver(false, signal)
    return disk
  }

  /** The driver, to be asked for with each request. @throws CommandError `blkd.device-away` */
  get driver(): BlockDriver {
    if (!this.#away) return this.#driver
    throw new CommandError('blkd.device-away', 'the device is not there at the moment', { fix: 'try again' })
  }

  /** How often the device failed with changes that had been confirmed and may have been in its cache only. */
  get losses(): number {
    return this.#losses
  }

  /** Counts what changes the disk: to know what a failure may have cost. */
  async change<T>(operation: () => Promise<T>): Promise<T> {
    this.#begun++
    try {
      return await operation()
    } finally {
      this.#settled++
    }
  }

  /** Makes safe what was confirmed before. @param driver the one that the changes went to */
  async flush(driver: BlockDriver): Promise<void> {
    const before = this.#settled
    await driver.flush()
    this.#safe = Math.max(this.#safe, before)
  }

  /**
   * Flushes, resets the device and releases it. Idempotent.
   * @param patience milliseconds that the flush may take
   * @throws what the flush or the reset failed with, when everything has been let go
   */
  stop(patience: number): Promise<void> {
    this.#stopping ??= this.#stop(patience)
    return this.#stopping
  }

  async #openDriver(wait: boolean, signal: AbortSignal): Promise<void> {
    const transport = await this.#device.attach({ wait, signal })
    const driver = await BlockDriver.open(transport, this.#options.driver)
    this.#driver = driver
    this.#runningSince = performance.now()
    driver.on('resize', (capacity) => this.#options.onEvent({ event: 'resize', capacity }))
    driver.on('fault', (reason) => {
      this.#away = true
      this.#recovery = this.#recover(reason)
    })
  }

  async #recover(reason: Error): Promise<void> {
    if (this.#stopping) return
    const driver = this.#driver
    // Also where the device calls its cache a writethrough one: qemu-storage-daemon 7.2 does, and syncs its file at a flush only.
    const keepsBack = driver.cache === 'writeback' || driver.features.has('FLUSH')
    if (keepsBack && this.#begun > this.#safe) this.#losses++
    this.#safe = this.#begun
    this.#tellFault(reason)
    const code = codeOf(reason) ?? reason.name
    if (code === 'device.gone' && !this.#device.reconnects) return this.#end(reason)
    if (performance.now() - this.#runningSince > calmMilliseconds) this.#attempts = 0
    // Where its reset was not confirmed, the memory is set aside by now; the next initialisation resets it again.
    await driver.close().catch(() => {})
    const { capacity } = driver
    let last = reason
    while (this.#device.reconnects || this.#attempts < recoveryPauses.length) {
      const pause = recoveryPauses[Math.min(this.#attempts++, recoveryPauses.length - 1)]
      await sleep(pause, undefined, { signal: this.#stopSignal.signal }).catch(() => {})
      if (this.#stopping) return
      try {
        await this.#openDriver(this.#device.reconnects, this.#stopSignal.signal)
        this.#away = false
        this.#options.onEvent({ event: 'reset', reason: code })
        if (this.#driver.capacity !== capacity)
          this.#options.onEvent({ event: 'resize', capacity: this.#driver.capacity })
        return
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

  #tellFault(failure: Error): void {
    this.#options.onEvent({ event: 'fault', code: codeOf(failure) ?? failure.name, message: failure.message })
  }

  async #stop(patience: number): Promise<void> {
    this.#stopSignal.abort()
    await this.#recovery
    try {
      if (!this.#away && !this.#driver.readOnly) await this.#lastFlush(AbortSignal.timeout(patience))
    } finally {
      try {
        await this.#driver.close()
      } finally {
        await this.#device.release()
      }
    }
  }

  async #lastFlush(signal: AbortSignal): Promise<void> {
    try {
      await this.#driver.flush({ signal })
    } catch (error) {
      if (!signal.aborted) throw error
      throw new CommandError('blkd.flush-timeout', 'the device did not flush in time before it was stopped', {
        why: 'what was written since the last flush of a client may be lost',
        fix: 'look after the storage behind the device',
        cause: error,
      })
    }
  }
}
