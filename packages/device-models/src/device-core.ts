import { DeviceStatus, featureNames, hasFeature, ReservedFeature } from '@virtio-ts/spec'
import { DeviceConfigSpace } from './device-config.ts'
import type { DeviceMemory } from './device-memory.ts'
import type { DeviceHost, DeviceModel } from './device-model.ts'
import type { DeviceMoments, DevicePoint, DeviceProfile } from './device-profile.ts'
import { DeviceQueue } from './device-queue.ts'
import { DevicePackedRing } from './device-packed-ring.ts'
import type { DeviceRing, DeviceRingOptions, RingAddresses } from './device-ring.ts'
import { DeviceSplitRing } from './device-split-ring.ts'
import { brokenDependencies } from './feature-judgement.ts'
import { Rules, type SpecClause } from './rules.ts'
import { StatusJudge } from './status-judge.ts'
import type { ViolationLog } from './violation-log.ts'

/** What the core needs of the bus that carries it. */
export interface DeviceBus {
  /** Whether the device can reach memory and signal: bus mastering is on, and it is still there. */
  readonly reachable: boolean
  used(queue: DeviceQueue): void
  configChanged(): void
  /** The driver left this queue in a state that the device cannot go on with. */
  broken?(queue: DeviceQueue): void
  /** The device was reset: vectors and interrupt status go back too. */
  reset(): void
}

export interface DeviceCoreOptions {
  readonly model: DeviceModel
  readonly memory: DeviceMemory
  readonly violations: ViolationLog
  readonly profile: DeviceProfile
  /** Features of ring and transport, offered beside the model's. */
  readonly features: bigint
  readonly bus: DeviceBus
  /** Work on a notification inside it, or on the next turn of the event loop. */
  readonly execution: 'immediate' | 'deferred'
  /** Buffers taken from a queue before the event loop gets its turn. @defaultValue as many as there are */
  readonly buffersAtOnce?: number
}

/** Numbers for tests and the demo. */
export interface DeviceStats {
  /** Available buffer notifications that arrived. */
  readonly notifications: number
  /** Resets by the driver. */
  readonly resets: number
}

const { DRIVER_OK, FEATURES_OK, DEVICE_NEEDS_RESET } = DeviceStatus

/**
 * What every virtio device holds, whatever bus carries it: status, features, queues, configuration, and the judgement of what the driver
 * does to them. Transports translate register accesses into its methods.
 */
export class DeviceCore implements DeviceHost {
  readonly model: DeviceModel
  readonly memory: DeviceMemory
  readonly profile: DeviceProfile
  readonly violations: ViolationLog
  readonly config: DeviceConfigSpace
  readonly queues: readonly DeviceQueue[]
  readonly #options: DeviceCoreOptions
  readonly #judge: StatusJudge
  readonly #pending = new Set<number>()
  #running = false
  #immediate: NodeJS.Immediate | undefined
  #status = 0
  #accepted = 0n
  #fault: string | undefined
  #notifications = 0
  #resets = 0

  constructor(options: DeviceCoreOptions) {
    this.#options = options
    this.model = options.model
    this.memory = options.memory
    this.profile = options.profile
    this.violations = options.violations
    this.config = new DeviceConfigSpace(options.model, options.violations)
    this.queues = options.model.queueSizes.map((size, index) => new DeviceQueue(index, size))
    this.#judge = new StatusJudge(options.violations)
    for (const queue of this.queues) this.resetVector(queue)
    options.model.attach(this)
  }

  get stats(): DeviceStats {
    return { notifications: this.#notifications, resets: this.#resets }
  }

  get offered(): bigint {
    return this.model.features | this.#options.features
  }

  get features(): bigint {
    return this.#accepted
  }

  get driverOk(): boolean {
    return (this.#status & DRIVER_OK) !== 0
  }

  /** VIRTIO 1.3 § 2.1.2 "Device Requirements: Device Status Field": no buffers and no notifications before DRIVER_OK. */
  get live(): boolean {
    return this.driverOk && (this.#status & DEVICE_NEEDS_RESET) === 0 && this.#options.bus.reachable
  }

  show<Point extends DevicePoint>(point: Point, moment: DeviceMoments[Point]): void {
    this.profile.on?.(point, moment, this)
  }

  violation(rule: SpecClause, text: string): void {
    this.violations.record(rule, text)
  }

  /** The status as it is, without the driver reading it. */
  get status(): number {
    return this.#status
  }

  /** Why the device needs a reset, if it does. */
  get fault(): string | undefined {
    return this.#fault
  }

  readStatus(): number {
    const moment = { status: this.#status }
    this.show('status-read', moment)
    this.#judge.read(moment.status)
    return moment.status
  }

  writeStatus(status: number, legacy: boolean): void {
    this.show('status-write', { previous: this.#status, status })
    if (status === 0) {
      this.reset()
      return
    }
    const before = this.#status
    this.#judge.write(before, status, legacy)
    this.#status = status | (before & DEVICE_NEEDS_RESET)
    if (!legacy && (status & ~before & FEATURES_OK) !== 0 && !this.#judgeFeatures()) this.#status &= ~FEATURES_OK
    if ((this.#status & ~before & DRIVER_OK) === 0) return
    for (const queue of this.queues) this.ring(queue.index)
    this.model.onDriverOk?.()
  }

  /** @returns whether the device is reset; it is not when the profile says so */
  reset(): boolean {
    const moment = { done: true }
    this.show('reset', moment)
    if (!moment.done) return false
    this.#resets++
    this.#judge.reset()
    this.#pending.clear()
    this.#status = 0
    this.#accepted = 0n
    this.#fault = undefined
    for (const queue of this.queues) {
      queue.reset()
      this.resetVector(queue)
    }
    this.#options.bus.reset()
    this.model.onReset()
    return true
  }

  resetVector(queue: DeviceQueue): void {
    queue.vector = this.profile.defaultVector?.(queue.index) ?? 0xffff
  }

  readFeatures(): bigint {
    const moment = { features: this.offered }
    this.show('features', moment)
    return moment.features
  }

  /** The driver's feature bits, all words of them. */
  writeFeatures(wanted: bigint, legacy: boolean): void {
    if ((this.#status & FEATURES_OK) !== 0) {
      this.violation(Rules.INITIALIZATION, 'feature bits written after FEATURES_OK')
      return
    }
    const unoffered = wanted & ~this.offered
    if (unoffered !== 0n)
      this.violation(
        Rules.FEATURES,
        `accepted what was not offered: ${featureNames(unoffered, this.model.featureBits, ReservedFeature).join(' ')}`,
      )
    this.#accepted = wanted
    if (legacy) this.#judgeFeatures(true)
  }

  /** VIRTIO 1.3 § 2.2.2 "Device Requirements: Feature Bits" */
  #judgeFeatures(legacy: boolean = false): boolean {
    const wanted = this.#accepted
    const offered = this.offered
    for (const text of brokenDependencies(this.model, wanted)) this.violation(Rules.FEATURES, text)
    if (!legacy && hasFeature(offered, ReservedFeature.VERSION_1) && !hasFeature(wanted, ReservedFeature.VERSION_1))
      this.violation(Rules.RESERVED_FEATURES, 'VERSION_1 was offered and not accepted')
    const ok = this.model.takesFeatures?.(wanted & offered) ?? true
    const moment = { wanted, offered, legacy, accepted: wanted & offered, ok }
    this.show('accept', moment)
    this.#accepted = moment.accepted
    return moment.ok
  }

  readConfig(offset: number, width: 1 | 2 | 4, legacy: boolean): number {
    return this.config.read(offset, width, legacy, (moment) => this.show('config-read', moment))
  }

  writeConfig(offset: number, width: 1 | 2 | 4, value: number, legacy: boolean): void {
    if (!legacy && (this.#status & FEATURES_OK) === 0 && !this.config.isEarly(offset))
      this.violation(Rules.INITIALIZATION, 'the configuration space was written before FEATURES_OK')
    this.config.write(offset, width, value, legacy)
  }

  ring(index: number): DeviceRing | undefined {
    const queue = this.queues[index]
    if (!queue?.enabled) return undefined
    // VIRTIO 1.3 § 3.1.2 "Legacy Interface: Device Initialization": a legacy driver may use the device before DRIVER_OK.
    const early = queue.legacyPage !== 0 && (this.#status & DEVICE_NEEDS_RESET) === 0 && this.#options.bus.reachable
    if (!this.live && !early) return undefined
    queue.ring ??= this.#makeRing(queue)
    return queue.ring
  }

  #makeRing(queue: DeviceQueue): DeviceRing | undefined {
    const accepted = this.#accepted
    try {
      const options: DeviceRingOptions = {
        memory: this.memory,
        size: queue.size,
        queue: queue.index,
        ...(queue.legacyPage === 0
          ? areasOf(queue)
          : DeviceSplitRing.legacyAddresses(queue.legacyPage * 4096, queue.size)),
        eventIndex: hasFeature(accepted, ReservedFeature.EVENT_IDX),
        indirect: hasFeature(accepted, ReservedFeature.INDIRECT_DESC),
        inOrder: hasFeature(accepted, ReservedFeature.IN_ORDER) ? 'alternate' : undefined,
        position: queue.position,
        notify: () => this.#options.bus.used(queue),
        onBroken: (reason) => this.#broken(queue, reason),
        profile: this.profile,
        device: this,
      }
      if (hasFeature(accepted, ReservedFeature.RING_PACKED)) return new DevicePackedRing(options)
      return new DeviceSplitRing({ ...options, notifyOnEmpty: hasFeature(accepted, ReservedFeature.NOTIFY_ON_EMPTY) })
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      queue.enabled = false
      this.#broken(queue, error.message)
      return undefined
    }
  }

  #broken(queue: DeviceQueue, reason: string): void {
    this.#options.bus.broken?.(queue)
    this.needsReset(reason)
  }

  /**
   * An available buffer notification for this queue.
   * @param next with NOTIFICATION_DATA, what it says
   */
  notify(index: number, next?: number): void {
    this.#notifications++
    const moment = { queue: index, ignored: false }
    this.show('notify', moment)
    if (moment.ignored) return
    if (!this.driverOk) this.violation(Rules.INITIALIZATION, `queue ${index} notified before DRIVER_OK`)
    if (!this.queues[index]?.enabled)
      this.violation(Rules.NOTIFICATIONS, `queue ${index} notified, which is not enabled`)
    else if (!this.#options.bus.reachable)
      this.violation(Rules.PCI, 'a queue notified while bus mastering is off: the device reaches no memory')
    // Looked at now: it says how things were when it was sent.
    if (next !== undefined) this.ring(index)?.judgeNotification(next)
    this.#pending.add(index)
    if (this.#options.execution === 'immediate') this.#run()
    else this.#immediate ??= setImmediate(() => this.#run())
  }

  /** What a notification brings about may notify again: the loop that is already running sees to it. */
  #run(): void {
    this.#immediate = undefined
    if (this.#running) return
    this.#running = true
    const exhausted: number[] = []
    try {
      for (const index of this.#pending) {
        this.#pending.delete(index)
        const ring = this.ring(index)
        if (!ring) continue
        ring.allowance = this.#options.buffersAtOnce ?? Number.POSITIVE_INFINITY
        this.model.onNotify(index)
        if (ring.allowance <= 0) exhausted.push(index)
        ring.allowance = Number.POSITIVE_INFINITY
      }
    } finally {
      this.#running = false
    }
    if (exhausted.length === 0) return
    for (const index of exhausted) this.#pending.add(index)
    this.#immediate ??= setImmediate(() => this.#run())
  }

  configChanged(notify: boolean): void {
    this.config.markChanged()
    if (notify && this.driverOk && this.#options.bus.reachable) this.#options.bus.configChanged()
  }

  /** VIRTIO 1.3 § 2.1.2 "Device Requirements: Device Status Field": after DRIVER_OK the driver is told. */
  needsReset(reason: string): void {
    this.#fault ??= reason
    this.#status |= DEVICE_NEEDS_RESET
    if (this.driverOk && this.#options.bus.reachable) this.#options.bus.configChanged()
  }

  /** An interrupt that nothing brought about. @param queue -1 for a configuration change */
  interrupt(index: number): void {
    const queue = this.queues[index]
    if (!this.#options.bus.reachable) return
    if (queue) this.#options.bus.used(queue)
    else this.#options.bus.configChanged()
  }

  /** The device ends: no work that was put off, no ring to write to. */
  close(): void {
    clearImmediate(this.#immediate)
    this.#immediate = undefined
    this.#pending.clear()
    for (const queue of this.queues) queue.stop()
  }
}

function areasOf({ descriptorArea, driverArea, deviceArea }: DeviceQueue): RingAddresses {
  return { descriptorArea, driverArea, deviceArea }
}
