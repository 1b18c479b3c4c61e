import { SystemError } from '@virtio-ts/native'
import {
  hasFeature,
  ReservedFeature,
  VhostUser,
  VhostUserBackEndRequest,
  VhostUserProtocolFeature,
  type VhostUserProtocolFeatureName,
} from '@virtio-ts/spec'
import { DeviceCore } from '../device-core.ts'
import { DeviceMemory } from '../device-memory.ts'
import type { DeviceModel } from '../device-model.ts'
import type { DeviceQueue } from '../device-queue.ts'
import { honest } from '../profiles/honest.ts'
import { Rules, type SpecClause } from '../rules.ts'
import type { ViolationLog } from '../violation-log.ts'
import { BackEndChannel } from './back-end-channel.ts'
import { BackEndQueue, type UserRingAddresses } from './back-end-queue.ts'
import { discardReadable } from './discard-readable.ts'
import { encodeRingState } from './encode-message.ts'
import { MemoryTable } from './memory-table.ts'
import { offeredProtocolFeatures, offeredRingFeatures } from './offered-features.ts'
import { Refused } from './refused.ts'
import { decodeBase, encodeBase } from './ring-base.ts'
import type { VhostUserOptions } from './vhost-user-options.ts'
import { VhostUserRules } from './vhost-user-rules.ts'

const PROTOCOL_FEATURES_BIT = 1n << BigInt(VhostUser.F_PROTOCOL_FEATURES)
/** What a driver says in turn where no message tells the device status. */
const STEPS_TO_DRIVER_OK = [1, 3, 11, 15] as const
const FEATURES_OK = 8
const BUFFERS_AT_ONCE = 1024

/** A device model as one front-end has set it up: features, memory, rings. The messages are decoded elsewhere. */
export class VhostUserDevice {
  readonly core: DeviceCore
  readonly table: MemoryTable
  readonly queues: readonly BackEndQueue[]
  /** Protocol features offered; undefined when the back-end knows of none. */
  readonly offeredProtocol: bigint | undefined
  readonly options: VhostUserOptions
  /** Protocol features the front-end accepted. */
  acceptedProtocol = 0n
  /** Bit 30 came back with SET_FEATURES. */
  protocolFeaturesAcked = false
  /** A reconnecting front-end has brought the account of buffers in flight. */
  inFlightKnown = false
  readonly #memory: DeviceMemory
  readonly #catchUp: () => void
  #channel: BackEndChannel | undefined
  #featuresSet = false
  #implied = false
  #closed = false

  /** @param catchUp handles the messages that were sent before a notification and are not read yet */
  constructor(model: DeviceModel, options: VhostUserOptions, violations: ViolationLog, catchUp: () => void) {
    this.options = options
    this.#catchUp = catchUp
    this.offeredProtocol = offeredProtocolFeatures(model, options)
    this.#memory = new DeviceMemory([], { violations })
    this.table = new MemoryTable(this.#memory, this.memorySlots)
    this.queues = model.queueSizes.map((_, index) => new BackEndQueue(index, () => this.#notified(index)))
    const open = (): boolean => !this.#closed
    this.core = new DeviceCore({
      model,
      memory: this.#memory,
      violations,
      profile: options.profile ?? honest(),
      features: offeredRingFeatures(options),
      execution: 'immediate',
      buffersAtOnce: options.buffersAtOnce ?? BUFFERS_AT_ONCE,
      bus: {
        get reachable() {
          return open()
        },
        used: (queue) => this.#signalUsed(queue),
        configChanged: () => this.#tellConfigChange(),
        broken: (queue) => this.#signalError(queue.index),
        reset: () => this.#resetQueues(),
      },
    })
  }

  get memorySlots(): number {
    const { memorySlots } = this.options
    return memorySlots ?? (this.offers('CONFIGURE_MEM_SLOTS') ? 32 : VhostUser.MAX_MEMORY_REGIONS)
  }

  /** What GET_QUEUE_NUM is answered with. */
  get queueCount(): number {
    const { name, queueSizes } = this.core.model
    return this.options.queueCount ?? (name === 'net' ? Math.floor(queueSizes.length / 2) : queueSizes.length)
  }

  get channel(): BackEndChannel | undefined {
    return this.#channel
  }

  get packed(): boolean {
    return hasFeature(this.core.features, ReservedFeature.RING_PACKED)
  }

  offers(name: VhostUserProtocolFeatureName): boolean {
    return hasFeature(this.offeredProtocol ?? 0n, VhostUserProtocolFeature[name])
  }

  accepted(name: VhostUserProtocolFeatureName): boolean {
    return hasFeature(this.acceptedProtocol, VhostUserProtocolFeature[name])
  }

  violation(rule: SpecClause, text: string): void {
    this.core.violation(rule, text)
  }

  /** Features for GET_FEATURES. */
  readFeatures(): bigint {
    return this.core.readFeatures() | (this.offeredProtocol === undefined ? 0n : PROTOCOL_FEATURES_BIT)
  }

  /** @throws Refused for in-band notifications without what they need */
  setProtocolFeatures(features: bigint): void {
    const unoffered = features & ~(this.offeredProtocol ?? 0n)
    if (unoffered !== 0n)
      this.violation(
        VhostUserRules.PROTOCOL_FEATURES,
        `accepted protocol features that were not offered: 0x${unoffered.toString(16)}`,
      )
    this.acceptedProtocol = features & ~unoffered
    if (this.accepted('INBAND_NOTIFICATIONS') && !(this.accepted('BACKEND_REQ') && this.accepted('REPLY_ACK')))
      throw new Refused(VhostUserRules.IN_BAND, 'in-band notifications without BACKEND_REQ and REPLY_ACK')
  }

  setFeatures(features: bigint): void {
    const withProtocol = (features & PROTOCOL_FEATURES_BIT) !== 0n
    this.protocolFeaturesAcked = withProtocol
    if (!withProtocol && this.acceptedProtocol !== 0n)
      this.violation(
        VhostUserRules.PROTOCOL_FEATURES,
        'protocol features were accepted, but not bit 30 of the features',
      )
    if (withProtocol && this.offeredProtocol === undefined)
      this.violation(VhostUserRules.PROTOCOL_FEATURES, 'bit 30 of the features was accepted and never offered')
    this.#featuresSet = true
    const wanted = features & ~PROTOCOL_FEATURES_BIT
    // Where nothing else tells: a front-end that has stopped all rings and negotiates again begins anew.
    if (!this.accepted('STATUS') && this.core.status !== 0 && !this.queues.some(({ started }) => started))
      this.#beginAnew()
    if (wanted !== this.core.features) this.core.writeFeatures(wanted, false)
    if (!withProtocol) for (const queue of this.queues) this.enable(queue, true)
  }

  setStatus(status: number): void {
    this.core.writeStatus(status, false)
    // Waiting for the reset to end is a matter of PCI registers: here the next message comes after it.
    if (status === 0) this.core.readStatus()
    else for (const queue of this.queues) this.goOn(queue)
  }

  /**
   * Begins a ring without a notification where there may have been one before: the front-end has brought the account of a back-end that may have
   * ended with a notification in its hands, and nobody sends that a second time.
   */
  goOn(queue: BackEndQueue): void {
    const { size, addresses, enabled, listening, started } = queue
    const isReady = size !== undefined && addresses !== undefined && enabled && listening && !started
    if (!isReady || !this.inFlightKnown || !this.#featuresSet) return
    if ((this.core.driverOk || !this.accepted('STATUS')) && this.#mayHaveBuffers(queue)) this.notifyInBand(queue)
  }

  /** Everything the driver and the front-end set up is gone, but for the memory and the descriptors it tells with. */
  resetDevice(): void {
    this.core.reset()
    this.core.readStatus()
  }

  /** The rings hold views of the memory: they are let go for the change and go on behind it. */
  changeMemory(change: () => void): void {
    const started = this.queues.filter(({ started }) => started)
    for (const { index } of started) {
      const queue = this.#coreQueue(index)
      queue.position = queue.ring?.position ?? queue.position
      queue.stop()
    }
    try {
      change()
    } finally {
      for (const queue of started)
        if (!this.#place(queue)) {
          this.violation(VhostUserRules.MEMORY, `queue ${queue.index}: a change of memory took its ring away`)
          this.stop(queue)
        }
    }
  }

  /** Takes on where a ring lies: within the regions. A ring in use is found there from now on. */
  setAddresses(queue: BackEndQueue, addresses: UserRingAddresses): void {
    this.changeMemory(() => {
      queue.addresses = addresses
    })
  }

  /** Whether SET_VRING_ENABLE means something: before SET_FEATURES an offer of bit 30 is enough, as QEMU has it. */
  get switchesRings(): boolean {
    return this.#featuresSet ? this.protocolFeaturesAcked : this.offeredProtocol !== undefined
  }

  /** Records what is missing for a ring that is about to be notified. */
  judgeReady(queue: BackEndQueue): boolean {
    const missing = [
      ...(this.#featuresSet ? [] : ['SET_FEATURES']),
      ...(queue.size === undefined ? ['SET_VRING_NUM'] : []),
      ...(queue.addresses ? [] : ['SET_VRING_ADDR']),
      ...(this.packed && queue.base === undefined ? ['SET_VRING_BASE'] : []),
    ]
    if (missing.length > 0)
      this.violation(VhostUserRules.RING_STATES, `queue ${queue.index} is to be started before ${missing.join(', ')}`)
    return queue.size !== undefined && queue.addresses !== undefined
  }

  enable(queue: BackEndQueue, enabled: boolean): void {
    queue.enabled = enabled
    this.#coreQueue(queue.index).enabled = queue.started && enabled
    if (queue.started && enabled) this.#work(queue)
    else this.goOn(queue)
  }

  /** Stops a ring. @returns how far it is, as SET_VRING_BASE takes it */
  stop(queue: BackEndQueue): number {
    const inner = this.#coreQueue(queue.index)
    const position = inner.ring?.position ?? inner.position
    if (queue.started) queue.base = position ? encodeBase(position, this.packed) : (queue.base ?? this.#firstBase())
    inner.stop()
    inner.enabled = false
    inner.position = undefined
    queue.started = false
    queue.dropNotifyFd()
    return queue.base ?? this.#firstBase()
  }

  /** An available buffer notification by message. */
  notifyInBand(queue: BackEndQueue): void {
    if (queue.started || this.#start(queue)) this.#work(queue)
  }

  /** @throws Refused when it is no socket */
  setChannel(fd: number): void {
    try {
      const channel = new BackEndChannel(fd)
      this.#channel?.close()
      this.#channel = channel
    } catch (error) {
      if (!(error instanceof SystemError)) throw error
      throw new Refused(VhostUserRules.BACK_END, `the channel for the back-end's requests: ${error.message}`)
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.core.close()
    for (const queue of this.queues) queue.close()
    this.#channel?.close()
    this.table.release()
  }

  #notified(index: number): void {
    const queue = this.queues[index]
    this.#catchUp()
    // A message may just have stopped it.
    if (!queue || this.#closed || !queue.listening) return
    if (queue.started || this.#start(queue)) this.#work(queue)
  }

  /** Begins to process a ring, if all is known that it takes. */
  #start(queue: BackEndQueue): boolean {
    const { index } = queue
    if (!this.judgeReady(queue)) return this.#signalError(index)
    if (!this.core.driverOk && !this.#implyDriverOk(index)) return this.#signalError(index)
    const inner = this.#coreQueue(index)
    inner.size = queue.size ?? 0
    if (!this.#place(queue)) {
      this.violation(VhostUserRules.MEMORY, `queue ${index}: its ring lies outside the memory regions`)
      return this.#signalError(index)
    }
    inner.position = decodeBase({
      base: queue.base,
      packed: this.packed,
      fromUsedIndex: this.inFlightKnown,
      deviceArea: this.#memory.bytes(inner.deviceArea, 4, [`queue ${index}: `, 'device area'], VhostUserRules.MEMORY),
    })
    inner.enabled = queue.enabled
    queue.started = true
    return true
  }

  /** Has the device see the ring where the front-end has it. */
  #place({ index, addresses }: BackEndQueue): boolean {
    if (!addresses) return false
    const [descriptorArea, driverArea, deviceArea] = (['descriptorArea', 'driverArea', 'deviceArea'] as const).map(
      (part) => this.table.toDeviceAddress(addresses[part]),
    )
    if (descriptorArea === undefined || driverArea === undefined || deviceArea === undefined) return false
    Object.assign(this.#coreQueue(index), { descriptorArea, driverArea, deviceArea })
    return true
  }

  /** Whether buffers may be waiting in a ring that is not started. Of a packed one only that it was in use can be told from here. */
  #mayHaveBuffers(queue: BackEndQueue): boolean {
    if (!this.#place(queue)) return false
    const { driverArea, deviceArea } = this.#coreQueue(queue.index)
    const [driver, device] = [driverArea, deviceArea].map((at) => this.#memory.bytes(at, 4))
    if (!driver || !device) return false
    if (this.packed)
      return decodeBase({ base: queue.base, packed: true, fromUsedIndex: true, deviceArea: device }) !== undefined
    return driver[2] !== device[2] || driver[3] !== device[3]
  }

  #work(queue: BackEndQueue): void {
    if (queue.enabled) this.core.notify(queue.index)
    else discardReadable(this.core, this.#coreQueue(queue.index))
  }

  /**
   * The steps that the front-end has had no message for. With STATUS it has one; but the protocol has a ring processed once it is started
   * and enabled, whatever the status, and QEMU 7.2 never says DRIVER_OK for vhost-user-rng.
   * VIRTIO 1.3 § 3.1.1 "Driver Requirements: Device Initialization"
   */
  #implyDriverOk(index: number): boolean {
    if (this.accepted('STATUS')) this.violation(Rules.INITIALIZATION, `queue ${index} notified before DRIVER_OK`)
    for (const bits of STEPS_TO_DRIVER_OK) {
      const status = this.core.readStatus()
      if ((status & bits) !== bits) this.core.writeStatus(status | bits, false)
      if ((this.core.readStatus() & FEATURES_OK) === 0 && bits >= FEATURES_OK) return false
    }
    return true
  }

  #beginAnew(): void {
    this.#implied = true
    this.resetDevice()
    this.#implied = false
  }

  #resetQueues(): void {
    if (!this.#implied) for (const queue of this.queues) queue.reset()
  }

  #signalUsed(queue: DeviceQueue): void {
    const moment = { queue: queue.index, times: 1 }
    this.core.show('interrupt', moment)
    const own = this.queues[queue.index]
    for (let n = 0; n < moment.times && own; n++) {
      if (own.hasUsedFd) own.signalUsed()
      else if (this.accepted('INBAND_NOTIFICATIONS'))
        this.#channel?.send(VhostUserBackEndRequest.VRING_CALL, encodeRingState(queue.index, 0))
    }
  }

  #signalError(index: number): false {
    const queue = this.queues[index]
    if (queue?.hasErrorFd) queue.signalError()
    else if (this.accepted('INBAND_NOTIFICATIONS'))
      this.#channel?.send(VhostUserBackEndRequest.VRING_ERR, encodeRingState(index, 0))
    return false
  }

  #tellConfigChange(): void {
    const moment = { queue: -1, times: 1 }
    this.core.show('interrupt', moment)
    if (!this.accepted('CONFIG')) return
    for (let n = 0; n < moment.times; n++) this.#channel?.send(VhostUserBackEndRequest.CONFIG_CHANGE_MSG)
  }

  #firstBase(): number {
    return this.packed ? 0x8000_8000 : 0
  }

  #coreQueue(index: number): DeviceQueue {
    const queue = this.core.queues[index]
    if (!queue) throw new RangeError(`there is no queue ${index}`)
    return queue
  }
}
