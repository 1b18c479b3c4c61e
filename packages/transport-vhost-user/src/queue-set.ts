import type { QueueDescriptors, Transport } from '@virtio-ts/core'
import { hasFeature, isVirtioError, ReservedFeature, VirtioError } from '@virtio-ts/spec'
import { DataQueue } from './data-queue.ts'
import type { DevicePart, OwnQueue } from './device-part.ts'
import type { FrontEnd } from './front-end.ts'
import type { NotificationRouter } from './notification-router.ts'
import { PackedDriverRing } from './packed-driver-ring.ts'
import { ServedQueue } from './served-queue.ts'
import { SplitDriverRing } from './split-driver-ring.ts'
import type { VhostUserMemory } from './vhost-user-memory.ts'

export interface QueueSetOptions {
  readonly frontEnd: FrontEnd
  readonly memory: VhostUserMemory
  readonly part: DevicePart
  readonly notifications: NotificationRouter
  /** Whoever serves a queue has given it up. */
  readonly onFault: () => void
}

type QueueAddresses = Parameters<Transport['enableQueue']>[2]

/** Both indexes 0 and both wrap counters 1: the protocol's "vring descriptor indices for packed virtqueues". */
const PACKED_START = 0x8000_8000

/** The queues of a device that are set up: those of the back-end's, and the one that is served here. */
export class QueueSet {
  readonly #options: QueueSetOptions
  /** By index, with holes: read in the packet path. */
  readonly #queues: (DataQueue | undefined)[] = []
  #served: { readonly index: number; readonly queue: ServedQueue } | undefined
  #polled = false

  constructor(options: QueueSetOptions) {
    this.#options = options
  }

  /** In polled mode nobody listens to used buffer notifications. For queues enabled from now on. */
  setPolled(polled: boolean): void {
    this.#polled = polled
  }

  /**
   * @param on whether the device is at work already: the queue takes part at once
   * @throws VirtioError `queue.missing`, `queue.in-use`
   */
  async enable(index: number, size: number, addresses: QueueAddresses, accepted: bigint, on: boolean): Promise<void> {
    const { frontEnd, part } = this.#options
    const isPacked = hasFeature(accepted, ReservedFeature.RING_PACKED)
    const own = part.ownQueue()
    if (own?.index === index) return this.#serve(own, size, addresses, isPacked)
    if (!part.hasQueue(index)) {
      throw new VirtioError('queue.missing', `${frontEnd.path} has no queue ${index}; it has ${part.queues}`, {
        device: frontEnd.path,
        queue: index,
      })
    }
    if (this.#queues[index]) throw this.#inUse(index)
    const queue = new DataQueue(index)
    this.#queues[index] = queue
    await frontEnd.setUpQueue(index, size, isPacked ? PACKED_START : 0, addresses)
    queue.started = true
    await frontEnd.setQueueFds(index, { notify: queue.notifyFd, used: queue.usedFd, error: queue.errorFd })
    queue.watchError(() => this.#options.onFault())
    this.watch(index)
    if (!on) return
    await this.#switch(queue, true)
    queue.notify()
  }

  /** Switches on what is to be on from DRIVER_OK. */
  async start(): Promise<void> {
    for (const queue of this.#all()) if (this.#options.part.isOnAtStart(queue.index)) await this.#switch(queue, true)
  }

  /** A back-end may wait for a first notification before it looks at a ring at all. */
  wake(): void {
    for (const queue of this.#all()) if (queue.on) queue.notify()
  }

  /** Has the first `pairs` pairs of queues used, and no others. @returns false, with nothing changed, where one is not set up */
  async usePairs(pairs: number): Promise<boolean> {
    for (let index = 0; index < 2 * pairs; index++) if (!this.#queues[index]?.started) return false
    for (const queue of this.#all()) {
      const on = queue.index < 2 * pairs
      if (queue.on === on) continue
      await this.#switch(queue, on)
      if (on) queue.notify()
    }
    return true
  }

  /** Has the back-end let go of all queues; returns when it has. */
  async stop(): Promise<void> {
    this.#served?.queue.stop()
    this.#served = undefined
    for (const queue of this.#all()) await this.stopOne(queue.index)
    this.#queues.length = 0
  }

  async stopOne(index: number): Promise<void> {
    const { frontEnd } = this.#options
    if (this.#served?.index === index) {
      this.#served.queue.stop()
      this.#served = undefined
    }
    const queue = this.#queues[index]
    if (!queue) return
    queue.stopWatching()
    if (queue.started) {
      // Only courtesy: a back-end that does not like it has to stop all the same.
      if (queue.on) await this.#switch(queue, false).catch(unlessRefused)
      await frontEnd.stopQueue(index)
    }
    this.#queues[index] = undefined
    queue.close()
  }

  notify(index: number): void {
    const queue = this.#queues[index]
    if (queue) queue.notify()
    else if (this.#served?.index === index) this.#served.queue.notify()
  }

  descriptors(index: number): QueueDescriptors | undefined {
    const queue = this.#queues[index]
    return queue && { notify: queue.notifyFd, used: this.#polled ? undefined : queue.usedFd }
  }

  /** Listens to a queue's used buffer notifications, if anybody wants to know. */
  watch(index: number): void {
    const { notifications } = this.#options
    if (this.#polled || !notifications.hasListener(index)) return
    this.#queues[index]?.watchUsed(() => notifications.used(index))
  }

  /** The back-end is gone. Descriptors stay open until `close()`: another thread may be using them. */
  abandon(): void {
    this.#served?.queue.stop()
    this.#served = undefined
    for (const queue of this.#all()) queue.stopWatching()
  }

  /** Idempotent. */
  close(): void {
    this.abandon()
    for (const queue of this.#all()) queue.close()
    this.#queues.length = 0
  }

  #serve(own: OwnQueue, size: number, addresses: QueueAddresses, isPacked: boolean): void {
    const { memory, notifications, onFault } = this.#options
    if (this.#served) throw this.#inUse(own.index)
    const Ring = isPacked ? PackedDriverRing : SplitDriverRing
    const ring = new Ring({
      size,
      view: (deviceAddress, length) => memory.view(deviceAddress, length),
      descriptorArea: addresses.descriptorArea,
      driverArea: addresses.driverArea,
      deviceArea: addresses.deviceArea,
    })
    const queue = new ServedQueue({
      ring,
      obey: own.obey,
      onUsed: () => {
        if (!this.#polled) notifications.used(own.index)
      },
      onBroken: onFault,
    })
    this.#served = { index: own.index, queue }
  }

  async #switch(queue: DataQueue, on: boolean): Promise<void> {
    const { frontEnd } = this.#options
    if (frontEnd.switchesQueues) await frontEnd.switchQueue(queue.index, on)
    queue.on = on
  }

  #all(): readonly DataQueue[] {
    return this.#queues.filter((queue) => queue !== undefined)
  }

  #inUse(index: number): VirtioError {
    const device = this.#options.frontEnd.path
    return new VirtioError('queue.in-use', `${device}: queue ${index} was set up twice; reset the device between`, {
      device,
      queue: index,
    })
  }
}

function unlessRefused(error: unknown): void {
  if (!isVirtioError(error) || error.code !== 'vhost-user.refused') throw error
}
