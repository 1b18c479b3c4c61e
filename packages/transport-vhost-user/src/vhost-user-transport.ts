import type { InterruptMode, QueueDescriptors, Transport } from '@virtio-ts/core'
import type { DmaAllocator } from '@virtio-ts/memory'
import {
  DeviceStatus,
  type DeviceTypeId,
  hasFeature,
  isVirtioError,
  ReservedFeature,
  VirtioError,
} from '@virtio-ts/spec'
import { goneError } from './connection-error.ts'
import type { DevicePart } from './device-part.ts'
import { NotificationRouter } from './notification-router.ts'
import { QueueSet } from './queue-set.ts'
import type { Session } from './session.ts'

type QueueAddresses = Parameters<Transport['enableQueue']>[2]

/** No message tells how large a ring may be: this is the largest that QEMU, which all back-ends know, makes. */
const MAX_QUEUE_SIZE = 1024
const { DEVICE_NEEDS_RESET, DRIVER_OK, FAILED, FEATURES_OK } = DeviceStatus

/**
 * A device behind a vhost-user socket. It lives as long as its connection; what comes after is another transport, with other memory. The
 * protocol knows no device status for most back-ends, no queue sizes and no interrupts: what is missing is kept here.
 */
export class VhostUserTransport implements Transport {
  readonly name: string = 'vhost-user'
  readonly location: string
  readonly deviceType: DeviceTypeId
  readonly legacy: boolean = false
  readonly queueSizeWritable: boolean = true
  readonly #session: Session
  readonly #part: DevicePart
  readonly #queues: QueueSet
  readonly #notifications: NotificationRouter = new NotificationRouter()
  readonly #goneListeners: ((reason: Error) => void)[] = []
  #accepted = 0n
  /** As the driver set it, where the back-end keeps none. */
  #status = 0
  #live = false
  #needsReset = false
  #gone: VirtioError | undefined
  #closing: Promise<void> | undefined
  #closed = false

  /** Made by `VhostUserEndpoint.connect()`. The session is the transport's from now on. */
  constructor(session: Session, part: DevicePart, deviceType: DeviceTypeId) {
    this.#session = session
    this.#part = part
    this.location = session.path
    this.deviceType = deviceType
    this.#queues = new QueueSet({
      frontEnd: session.frontEnd,
      memory: session.memory,
      part,
      notifications: this.#notifications,
      onFault: () => this.#fault(),
    })
    session.onConfigChange(() => this.#notifications.configChanged())
    session.connection.onEnd((reason) => this.#lose(goneError(this.location, reason)))
  }

  get dma(): DmaAllocator {
    return this.#session.memory
  }

  /** The back-end's, less what there is no message for, and what the front-end does for it. */
  async deviceFeatures(): Promise<bigint> {
    this.#check()
    return this.#part.offer()
  }

  /** Remembers them; the back-end learns of them with FEATURES_OK. */
  async acceptFeatures(features: bigint): Promise<void> {
    this.#check()
    this.#accepted = features
  }

  async status(): Promise<number> {
    return this.#access(async () => {
      const { frontEnd } = this.#session
      const status = frontEnd.has('STATUS') ? await frontEnd.status() : this.#status
      return this.#needsReset ? status | DEVICE_NEEDS_RESET : status
    })
  }

  /**
   * FEATURES_OK tells the back-end what was accepted, and does not stand when that was never offered; DRIVER_OK switches its queues on.
   * @see VIRTIO 1.3 § 2.2.2 "Device Requirements: Feature Bits"
   */
  async setStatus(status: number): Promise<void> {
    if (status === 0) return this.reset()
    await this.#access(async () => {
      const { frontEnd } = this.#session
      const added = status & ~this.#status
      const isFeatureless = (added & FEATURES_OK) !== 0 && (this.#accepted & ~this.#part.offer()) !== 0n
      const wanted = isFeatureless ? status & ~FEATURES_OK : status
      if (added & wanted & FEATURES_OK) await this.#begin()
      if (added & DRIVER_OK && (status & FAILED) === 0) {
        await this.#queues.start()
        this.#setLive(true)
      } else if (status & FAILED) this.#setLive(false)
      if (frontEnd.has('STATUS')) await frontEnd.setStatus(wanted)
      this.#status = wanted
      await frontEnd.settle()
      if (this.#live) this.#queues.wake()
    })
  }

  /**
   * Stops every queue the back-end was told of: it answers when it has let go. Then the rest of its state, where it can be asked for that.
   * @see VIRTIO 1.3 § 2.4.2 "Driver Requirements: Device Reset"
   */
  async reset(): Promise<void> {
    this.#setLive(false)
    this.#check()
    try {
      const { frontEnd } = this.#session
      await this.#queues.stop()
      if (frontEnd.has('STATUS')) await frontEnd.setStatus(0)
      if (frontEnd.has('RESET_DEVICE')) await frontEnd.resetDevice()
      await frontEnd.settle()
    } catch (error) {
      throw this.#unconfirmed(error)
    }
    this.#status = 0
    this.#accepted = 0n
    this.#needsReset = false
  }

  async queueSizeMax(index: number): Promise<number> {
    this.#check()
    const own = this.#part.ownQueue()
    if (own?.index === index) return own.size
    return this.#part.hasQueue(index) ? MAX_QUEUE_SIZE : 0
  }

  async enableQueue(index: number, size: number, addresses: QueueAddresses): Promise<void> {
    await this.#access(() => this.#queues.enable(index, size, addresses, this.#accepted, this.#live))
  }

  /** @see VIRTIO 1.3 § 2.6.1.1.2 "Driver Requirements: Virtqueue Reset" */
  async resetQueue(index: number): Promise<void> {
    await this.#access(async () => {
      if (!hasFeature(this.#accepted, ReservedFeature.RING_RESET)) {
        throw new VirtioError(
          'queue.no-reset',
          `${this.location}: RING_RESET was not negotiated; reset the whole device`,
          { device: this.location, queue: index },
        )
      }
      await this.#queues.stopOne(index)
    })
  }

  get configLength(): number {
    return this.#gone || this.#closed ? 0 : this.#part.configLength
  }

  async readConfig(offset: number, into: Uint8Array): Promise<void> {
    await this.#access(async () => {
      this.#checkConfigRange(offset, into.length)
      into.set((await this.#part.readConfig()).subarray(offset, offset + into.length))
    })
  }

  async writeConfig(offset: number, from: Uint8Array): Promise<void> {
    await this.#access(async () => {
      this.#checkConfigRange(offset, from.length)
      await this.#part.writeConfig(offset, from)
    })
  }

  /** `eventfd`, whatever else is wanted, or `none`. @returns a vector for each queue */
  async setUpInterrupts(
    queues: number,
    wanted: 'auto' | InterruptMode,
  ): Promise<{ readonly mode: InterruptMode; readonly vectors: number }> {
    this.#check()
    const mode = wanted === 'none' ? 'none' : 'eventfd'
    this.#queues.setPolled(mode === 'none')
    return { mode, vectors: mode === 'none' ? 0 : queues }
  }

  /** One listener a queue; a later one takes its place. Without one the queue's descriptor is nobody's to read but yours. */
  onUsed(index: number, listener: () => void): void {
    this.#notifications.onUsed(index, listener)
    this.#queues.watch(index)
  }

  /** One listener; a later one takes its place. */
  onConfigChange(listener: () => void): void {
    this.#notifications.onConfigChange(listener)
  }

  onGone(listener: (reason: Error) => void): void {
    const gone = this.#gone
    if (gone) queueMicrotask(() => listener(gone))
    else this.#goneListeners.push(listener)
  }

  notify(index: number): void {
    this.#queues.notify(index)
  }

  /** Undefined for a queue that is not enabled, and for the control queue where this front-end serves it. */
  queueDescriptors(index: number): QueueDescriptors | undefined {
    return this.#queues.descriptors(index)
  }

  /** What a driver asks of the control queue that is served here. @returns whether it could be done */
  usePairs(pairs: number): Promise<boolean> {
    return this.#queues.usePairs(pairs)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#live && !this.#gone) await this.reset().catch(() => {})
    this.#closed = true
    this.#setLive(false)
    this.#queues.close()
    this.#session.end()
    this.#goneListeners.length = 0
  }

  /** What comes between the features and the queues: the back-end learns of both, and where its memory is. */
  async #begin(): Promise<void> {
    const { frontEnd, memory } = this.#session
    const forwarded = this.#part.forward(this.#accepted)
    await frontEnd.setFeatures(forwarded)
    await this.#part.begin(this.#accepted)
    await memory.share(frontEnd)
    if (frontEnd.has('INFLIGHT_SHMFD')) await frontEnd.exchangeInflight(this.#part.queues, MAX_QUEUE_SIZE)
  }

  #setLive(live: boolean): void {
    this.#live = live
    this.#notifications.setLive(live)
  }

  /** A queue was given up by whoever serves it: as a device says that it needs a reset. */
  #fault(): void {
    this.#needsReset = true
    this.#notifications.configChanged()
  }

  #checkConfigRange(offset: number, length: number): void {
    const available = this.configLength
    if (Number.isInteger(offset) && offset >= 0 && offset + length <= available) return
    throw new VirtioError(
      'config.bounds',
      `${this.location}: bytes ${offset} to ${offset + length} of the device's configuration were asked for, and it has ${available}`,
      { device: this.location, detail: { offset, length, available } },
    )
  }

  #check(): void {
    if (this.#gone) throw this.#gone
    if (this.#closed) {
      throw new VirtioError('transport.closed', `${this.location} was closed; connect again`, { device: this.location })
    }
  }

  /** Everything that sends messages: once the connection has ended, its end is the reason. */
  async #access<Result>(body: () => Promise<Result>): Promise<Result> {
    this.#check()
    try {
      return await body()
    } catch (error) {
      throw this.#failed(error)
    }
  }

  #failed(error: unknown): unknown {
    const { ended } = this.#session.connection
    // `onEnd` comes a turn later than the rejection.
    if (ended) this.#lose(goneError(this.location, ended))
    return this.#gone ?? error
  }

  /** A reset that was not answered; nothing that happens on this connection later can make up for it. */
  #unconfirmed(error: unknown): unknown {
    const { connection } = this.#session
    if (isVirtioError(error) && !connection.ended) connection.fail(error)
    const failure = this.#failed(error)
    if (connection.ended?.code !== 'vhost-user.timeout') return failure
    return new VirtioError(
      'device.reset-timeout',
      `${this.location}: the back-end did not confirm the reset in time, so it may still write to its memory; ` +
        'the connection was closed, and the memory will not be used again',
      { device: this.location, cause: connection.ended },
    )
  }

  #lose(reason: VirtioError): void {
    if (this.#gone || this.#closed) return
    this.#gone = reason
    this.#setLive(false)
    this.#queues.abandon()
    this.#session.end(reason)
    queueMicrotask(() => {
      for (const listener of this.#goneListeners.splice(0)) listener(reason)
    })
  }
}
