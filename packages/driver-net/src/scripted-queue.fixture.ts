import type { ChainBuilder, LaneRow, ReadableLane, UsedBatch, Virtqueue, WritableLane } from '@virtio-ts/core'
import type { DeviceAddress } from '@virtio-ts/memory'
import type { VirtioError } from '@virtio-ts/spec'
import { ChainLane } from './chain-lane.ts'

export interface ScriptedChain {
  readonly cookie: number
  readonly buffers: readonly { readonly address: number; readonly length: number; readonly writable: boolean }[]
}

/** A virtqueue whose device does what a test says: what was published, and what comes back when. */
export class ScriptedQueue implements Virtqueue {
  readonly index = 0
  readonly size: number
  readonly maxChain: number
  readonly addresses = {
    descriptorArea: 0 as DeviceAddress,
    driverArea: 0 as DeviceAddress,
    deviceArea: 0 as DeviceAddress,
  }
  /** Chains the device has and has not used, in order. */
  readonly available: ScriptedChain[] = []
  readonly #added: ScriptedChain[] = []
  readonly #used: { readonly cookie: number; readonly written: number }[] = []
  readonly #listeners: ((reason: VirtioError) => void)[] = []
  broken: VirtioError | undefined
  published = 0
  notifications = 0
  enabled = true
  /** Runs at each `publish()`, where a device of this process would get to work. */
  onPublish: () => void = () => {}
  /** Runs while `enableUsedNotifications()` is under way. */
  onEnable: () => void = () => {}

  constructor(size: number) {
    this.size = size
    this.maxChain = size
  }

  get free(): number {
    return this.size - this.inFlight
  }

  get inFlight(): number {
    return this.available.length + this.#added.length + this.#used.length
  }

  get stats() {
    return {
      added: 0,
      used: 0,
      notificationsSent: this.notifications,
      notificationsSuppressed: 0,
      lengthsClamped: 0,
      inFlight: this.inFlight,
    }
  }

  /** The device uses a chain: the first one, or the one of this cookie. */
  use(written = 0, cookie: number = this.available[0]!.cookie): number {
    const at = this.available.findIndex((chain) => chain.cookie === cookie)
    if (at < 0) throw new Error(`the device does not have ${cookie}`)
    this.available.splice(at, 1)
    this.#used.push({ cookie, written })
    return cookie
  }

  addReadable(address: DeviceAddress, length: number, cookie: number): boolean {
    return this.#add({ cookie, buffers: [{ address, length, writable: false }] })
  }

  addWritable(address: DeviceAddress, length: number, cookie: number): boolean {
    return this.#add({ cookie, buffers: [{ address, length, writable: true }] })
  }

  addChain(chain: ChainBuilder, cookie: number): boolean {
    const buffers = Array.from({ length: chain.count }, (_, i) => ({
      address: chain.addresses[i]!,
      length: chain.lengths[i]!,
      writable: i >= chain.readable,
    }))
    return this.#add({ cookie, buffers })
  }

  openReadableLane(row: LaneRow): ReadableLane {
    return new ChainLane(this, row, 0, false)
  }

  openWritableLane(row: LaneRow): WritableLane {
    return new ChainLane(this, row, 0, true)
  }

  publish(): void {
    if (this.broken) return
    this.published++
    this.available.push(...this.#added.splice(0))
    this.onPublish()
  }

  notifyAlways(): void {
    this.notifications++
  }

  popUsed(batch: UsedBatch): number {
    if (this.broken) return 0
    const taken = this.#used.splice(0, batch.cookies.length)
    for (const [i, { cookie, written }] of taken.entries()) {
      batch.cookies[i] = cookie
      batch.written[i] = written
    }
    return taken.length
  }

  hasUsed(): boolean {
    return !this.broken && this.#used.length > 0
  }

  disableUsedNotifications(): void {
    this.enabled = false
  }

  enableUsedNotifications(): boolean {
    this.enabled = true
    this.onEnable()
    return this.hasUsed()
  }

  fail(reason: VirtioError): void {
    if (this.broken) return
    this.broken = reason
    for (const listener of this.#listeners) listener(reason)
  }

  onBroken(listener: (reason: VirtioError) => void): void {
    this.#listeners.push(listener)
  }

  #add(chain: ScriptedChain): boolean {
    if (this.broken || this.inFlight >= this.size) return false
    this.#added.push(chain)
    return true
  }
}
