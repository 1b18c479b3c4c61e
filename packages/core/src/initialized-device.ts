import type { DmaRegion } from '@virtio-ts/memory'
import { DeviceStatus, isVirtioError, VirtioError } from '@virtio-ts/spec'
import { type OwnedVirtqueue, RequestQueue, type Virtqueue, type VirtqueueStats } from '@virtio-ts/virtqueue'
import type { DeviceConfig } from './device-config.ts'
import { DeviceMemory } from './device-memory.ts'
import type { NegotiatedFeatures } from './negotiated-features.ts'
import { RequestPoller } from './request-poller.ts'
import type { NamedQueue } from './set-up-queues.ts'
import { type TransferredQueue, transferQueue } from './transfer-queue.ts'
import type { InterruptMode, Transport } from './transport.ts'
import type { DeviceDescription, VirtioDevice } from './virtio-device.ts'

interface Parts<Feature extends string> {
  readonly transport: Transport
  readonly features: NegotiatedFeatures<Feature>
  readonly config: DeviceConfig
  readonly interrupts: { readonly mode: InterruptMode; readonly vectors: number }
  readonly generation: number
  readonly queues: readonly NamedQueue[]
  readonly tearDown: (transport: Transport, queues: readonly NamedQueue[], memory: DeviceMemory) => Promise<void>
}

/** What `initialize` returns: wiring between queues, notifications and the owner's listeners. */
export class InitializedDevice<Feature extends string, Queue extends string> implements VirtioDevice<Feature, Queue> {
  readonly features: NegotiatedFeatures<Feature>
  readonly config: DeviceConfig
  readonly generation: number
  readonly #parts: Parts<Feature>
  readonly #transport: Transport
  readonly #memory: DeviceMemory
  readonly #requestQueues = new Map<string, RequestQueue>()
  /** Of queues that another thread has, as it told. */
  readonly #reportedStats = new Map<number, VirtqueueStats>()
  /** The last reset of each queue, settled without a result. */
  readonly #resets = new Map<string, Promise<void>>()
  readonly #resizeListeners: ((name: Queue, queue: Virtqueue) => void)[] = []
  readonly #configListeners: (() => void)[] = []
  readonly #faultListeners: ((reason: VirtioError) => void)[] = []
  #fault: VirtioError | undefined
  #closing: Promise<void> | undefined

  constructor(parts: Parts<Feature>) {
    this.#parts = parts
    this.#transport = parts.transport
    this.features = parts.features
    this.config = parts.config
    this.generation = parts.generation
    this.#memory = new DeviceMemory(parts.transport.dma)
    for (const { queue } of parts.queues) {
      queue.onBroken((reason) => this.#fail(reason))
      if (parts.interrupts.mode === 'none') queue.disableUsedNotifications()
    }
    this.#transport.onConfigChange(() => void this.checkStatus())
    this.#transport.onGone((cause) =>
      this.#fail(
        new VirtioError('device.gone', `${this.location} is gone: ${cause.message}`, {
          device: this.location,
          generation: this.generation,
          cause,
        }),
      ),
    )
  }

  get location(): string {
    return this.#transport.location
  }

  get legacy(): boolean {
    return this.#transport.legacy
  }

  get interrupts(): InterruptMode {
    return this.#parts.interrupts.mode
  }

  get fault(): VirtioError | undefined {
    return this.#fault
  }

  hasQueue(name: Queue): boolean {
    return this.#parts.queues.some((candidate) => candidate.name === name)
  }

  queue(name: Queue): Virtqueue {
    return this.#named(name)
  }

  requestQueue(name: Queue): RequestQueue {
    const known = this.#requestQueues.get(name)
    if (known) return known
    const queue = this.#named(name)
    if (queue.transferred) throw this.#otherThreads(name, queue)
    const requests: RequestQueue = new RequestQueue(queue, {
      ...(this.interrupts === 'none' ? { onPending: () => poller.start() } : {}),
    })
    const poller = new RequestPoller(requests, () => this.#named(name))
    this.#requestQueues.set(name, requests)
    if (this.interrupts !== 'none') {
      this.#transport.onUsed(queue.index, () => serviceUntilQuiet(requests, this.#named(name)))
    }
    return requests
  }

  transferQueue(name: Queue): TransferredQueue {
    const queue = this.#named(name)
    if (this.#requestQueues.has(name)) {
      throw new VirtioError(
        'queue.bound-to-thread',
        `queue ${name} of ${this.location} cannot be handed to another thread: its requests are this one's; ask for one view of it only`,
        this.#where(queue),
      )
    }
    const transferred = transferQueue(this.#transport, name, queue)
    // Of a thread that had it before.
    this.#reportedStats.delete(queue.index)
    return transferred
  }

  reportQueueStats(name: Queue, stats: VirtqueueStats): void {
    this.#reportedStats.set(this.#named(name).index, stats)
  }

  onUsed(name: Queue, listener: () => void): void {
    this.#transport.onUsed(this.#named(name).index, listener)
  }

  onConfigChange(listener: () => void): void {
    this.#configListeners.push(listener)
  }

  onFault(listener: (reason: VirtioError) => void): void {
    if (this.#fault) listener(this.#fault)
    else this.#faultListeners.push(listener)
  }

  async checkStatus(): Promise<void> {
    if (this.#closing || this.#fault) return
    try {
      const status = await this.#transport.status()
      if (this.#closing) return
      if (status & DeviceStatus.DEVICE_NEEDS_RESET) {
        this.#fail(
          new VirtioError(
            'device.needs-reset',
            `${this.location} met an error it cannot get over by itself and asks for a reset`,
            {
              device: this.location,
              generation: this.generation,
              detail: { status },
            },
          ),
        )
      } else for (const listener of this.#configListeners) listener()
    } catch (cause) {
      this.#fail(
        new VirtioError('device.gone', `${this.location} no longer answers: its status cannot be read`, {
          device: this.location,
          generation: this.generation,
          cause,
        }),
      )
    }
  }

  resetQueue(name: Queue, { size }: { readonly size?: number } = {}): Promise<Int32Array> {
    const before = this.#resets.get(name) ?? Promise.resolve()
    const reset = before.then(() => this.#resetQueue(name, size))
    this.#resets.set(
      name,
      reset.then(
        () => {},
        () => {},
      ),
    )
    return reset
  }

  onQueueResized(listener: (name: Queue, queue: Virtqueue) => void): void {
    this.#resizeListeners.push(listener)
  }

  allocate(length: number, alignment?: number): DmaRegion {
    return this.#memory.allocate(length, alignment)
  }

  describe(): DeviceDescription {
    return {
      transport: this.#transport.name,
      location: this.location,
      deviceType: this.#transport.deviceType,
      legacy: this.legacy,
      interrupts: this.interrupts,
      vectors: this.#parts.interrupts.vectors,
      generation: this.generation,
      features: this.features.names,
      queues: this.#parts.queues.map(({ name, queue }) => ({
        name,
        index: queue.index,
        size: queue.size,
        ...(queue.transferred ? this.#reportedStats.get(queue.index) : queue.stats),
      })),
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #close(): Promise<void> {
    const reason =
      this.#fault ??
      new VirtioError('device.closed', `${this.location} was closed`, {
        device: this.location,
        generation: this.generation,
      })
    this.#fault ??= reason
    for (const { queue } of this.#parts.queues) queue.fail(reason)
    await this.#parts.tearDown(this.#transport, this.#parts.queues, this.#memory)
    // Only here: after an unconfirmed reset `tearDown` has thrown, and the buffers stay the device's.
    for (const requests of this.#requestQueues.values()) requests.reset(reason)
  }

  async #resetQueue(name: Queue, size: number | undefined): Promise<Int32Array> {
    const named = this.#find(name)
    const old = named.queue
    this.#throwFault()
    if (!this.features.has('RING_RESET')) {
      throw new VirtioError(
        'queue.reset-unavailable',
        `${this.location} did not negotiate RING_RESET: only the whole device can be reset`,
        this.#where(old),
      )
    }
    const queue = size === undefined || size === old.size ? old : this.#another(named, size)
    try {
      await this.#transport.resetQueue(old.index)
      // Closed, or gone, meanwhile: the old queue was let go of with all others.
      this.#throwFault()
    } catch (error) {
      // The device never learned of it.
      if (queue !== old) queue.release()
      throw error
    }
    const cookies = old.reset()
    if (queue !== old) {
      named.queue = queue
      old.release()
      queue.onBroken((reason) => this.#fail(reason))
    }
    if (this.interrupts === 'none') queue.disableUsedNotifications()
    const reason = new VirtioError('queue.reset', `queue ${name} of ${this.location} was reset`, this.#where(queue))
    this.#requestQueues.get(name)?.reset(reason, queue)
    try {
      await this.#transport.enableQueue(queue.index, queue.size, queue.addresses)
    } catch (error) {
      if (isVirtioError(error)) queue.fail(error)
      throw error
    }
    // Requests that came while it was out of use.
    if (queue.inFlight > 0) queue.notifyAlways()
    if (queue !== old) for (const listener of this.#resizeListeners) listener(name, queue)
    return cookies
  }

  #throwFault(): void {
    if (this.#fault) throw this.#fault
  }

  /** A queue to take the place of another one. */
  #another({ name, queue, sizeMax, make }: NamedQueue, size: number): OwnedVirtqueue {
    const packed = this.features.has('RING_PACKED')
    const possible = Number.isInteger(size) && size >= 1 && size <= sizeMax && (packed || (size & (size - 1)) === 0)
    if (possible) return make(size)
    throw new VirtioError(
      'queue.size-invalid',
      `queue ${name} of ${this.location} cannot have ${size} entries: the device allows ${sizeMax} at most` +
        (packed ? '' : ', and a split ring has a power of two'),
      { ...this.#where(queue), detail: { size, sizeMax } },
    )
  }

  #where({ index }: Virtqueue): { device: string; queue: number; generation: number } {
    return { device: this.location, queue: index, generation: this.generation }
  }

  #find(name: Queue): NamedQueue {
    const found = this.#parts.queues.find((candidate) => candidate.name === name)
    if (!found) throw new RangeError(`${this.location} was set up without a queue ${name}`)
    return found
  }

  #named(name: Queue): OwnedVirtqueue {
    return this.#find(name).queue
  }

  #otherThreads(name: Queue, queue: OwnedVirtqueue): VirtioError {
    return new VirtioError(
      'queue.bound-to-thread',
      `queue ${name} of ${this.location} was handed to another thread: only that one can use it`,
      this.#where(queue),
    )
  }

  #fail(reason: VirtioError): void {
    if (this.#fault) return
    this.#fault = reason
    for (const { queue } of this.#parts.queues) queue.fail(reason)
    for (const listener of this.#faultListeners.splice(0)) listener(reason)
  }
}

/** Takes used buffers until none came between the last look and asking for the next notification. */
function serviceUntilQuiet(requests: RequestQueue, queue: Virtqueue): void {
  do requests.service()
  while (!queue.broken && queue.enableUsedNotifications())
}
