import type { DriverSpec, InitializeOptions, InterruptMode, Transport } from '@virtio-ts/core'
import type { DmaAllocator } from '@virtio-ts/memory'
import { DeviceStatus, featureSet, hasFeature, ReservedFeature, VirtioError } from '@virtio-ts/spec'
import type { QueueAddresses } from '@virtio-ts/virtqueue'
import { afterEach, describe, expect, it } from 'vitest'

/** A device nobody has initialised, with a transport to it. */
export interface DriverBench {
  readonly transport: Transport
  /** What the device found the driver do against the specification. */
  violations?(): readonly unknown[]
  /** Ends what the transport stands on. */
  dispose?(): Promise<void>
}

export interface DriverSuiteOptions<Driver extends AsyncDisposable & { close(): Promise<void> }> {
  readonly spec: DriverSpec
  /** A new device; the same one again must be had once the first is closed. */
  attach(): Promise<DriverBench>
  open(transport: Transport, options?: InitializeOptions): Promise<Driver>
  /** Uses the device once in earnest; rejects, or throws, when it does not work. */
  use(driver: Driver): Promise<void>
  /** How often the device is opened and closed in a row. @defaultValue 100 */
  readonly rounds?: number
}

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, FAILED } = DeviceStatus
const ROUNDS = 100

/** Feature bits no driver can know: from the ranges for devices and for extensions. */
const UNKNOWN = featureSet(22, 30, 49, 50, 58, 63, 100)

/** A transport that writes down what is asked of it, and passes it on, or not. */
class TransportProbe implements Transport {
  readonly #inner: Transport
  readonly log: string[] = []
  offered = 0n
  accepted = 0n
  /** Bits offered besides the device's own. */
  extraFeatures = 0n
  statusMask = 0xff
  resetFails = false
  readonly #goneListeners: ((reason: Error) => void)[] = []

  constructor(inner: Transport) {
    this.#inner = inner
  }

  get name(): string {
    return this.#inner.name
  }
  get location(): string {
    return this.#inner.location
  }
  get deviceType(): number {
    return this.#inner.deviceType
  }
  get legacy(): boolean {
    return this.#inner.legacy
  }
  get dma(): DmaAllocator {
    return this.#inner.dma
  }
  get queueSizeWritable(): boolean {
    return this.#inner.queueSizeWritable
  }
  get configLength(): number {
    return this.#inner.configLength
  }

  async deviceFeatures(): Promise<bigint> {
    this.log.push('features')
    this.offered = await this.#inner.deviceFeatures()
    return this.offered | this.extraFeatures
  }
  async acceptFeatures(features: bigint): Promise<void> {
    this.log.push('accept')
    this.accepted = features
    await this.#inner.acceptFeatures(features)
  }
  async status(): Promise<number> {
    this.log.push('status?')
    return (await this.#inner.status()) & this.statusMask
  }
  async setStatus(status: number): Promise<void> {
    this.log.push(`status=${status}`)
    await this.#inner.setStatus(status)
  }
  async reset(): Promise<void> {
    this.log.push('reset')
    if (!this.resetFails) return this.#inner.reset()
    throw new VirtioError('device.reset-timeout', 'the probe does not confirm resets')
  }
  queueSizeMax(index: number): Promise<number> {
    return this.#inner.queueSizeMax(index)
  }
  async enableQueue(index: number, size: number, addresses: QueueAddresses): Promise<void> {
    this.log.push('queue')
    await this.#inner.enableQueue(index, size, addresses)
  }
  resetQueue(index: number): Promise<void> {
    return this.#inner.resetQueue(index)
  }
  async readConfig(offset: number, into: Uint8Array): Promise<void> {
    this.log.push('config?')
    await this.#inner.readConfig(offset, into)
  }
  async writeConfig(offset: number, from: Uint8Array): Promise<void> {
    this.log.push('config=')
    await this.#inner.writeConfig(offset, from)
  }
  async setUpInterrupts(
    queues: number,
    wanted: 'auto' | InterruptMode,
  ): Promise<{ readonly mode: InterruptMode; readonly vectors: number }> {
    this.log.push('interrupts')
    return this.#inner.setUpInterrupts(queues, wanted)
  }
  onUsed(index: number, listener: () => void): void {
    this.#inner.onUsed(index, listener)
  }
  onConfigChange(listener: () => void): void {
    this.#inner.onConfigChange(listener)
  }
  onGone(listener: (reason: Error) => void): void {
    this.#goneListeners.push(listener)
    this.#inner.onGone(listener)
  }
  notify(index: number, next?: number): void {
    this.log.push('notify')
    this.#inner.notify(index, next)
  }
  async close(): Promise<void> {
    this.log.push('close')
    await this.#inner.close()
  }

  /** As when the device was pulled out. */
  lose(): void {
    for (const listener of this.#goneListeners) listener(new Error('the probe lost the device'))
  }

  get statuses(): number[] {
    return this.log.flatMap((entry) => (entry.startsWith('status=') ? [Number(entry.slice(7))] : []))
  }
}

/** What every driver has to get right before it comes to what its device is for: set-up, tear-down, and failures on the way. */
export function driverSuite<Driver extends AsyncDisposable & { close(): Promise<void> }>(
  name: string,
  options: DriverSuiteOptions<Driver>,
): void {
  describe(`${name}: driver`, () => {
    const benches: DriverBench[] = []

    async function attach(): Promise<{ readonly bench: DriverBench; readonly probe: TransportProbe }> {
      const bench = await options.attach()
      benches.push(bench)
      return { bench, probe: new TransportProbe(bench.transport) }
    }

    afterEach(async () => {
      for (const bench of benches.splice(0)) {
        await bench.transport.close()
        await bench.dispose?.()
      }
    })

    it('§ 3.1.1 sets the device up in the one right order', async () => {
      const { bench, probe } = await attach()
      const driver = await options.open(probe)
      const order = probe.log.filter((entry) => !entry.startsWith('config') && entry !== 'notify')
      const legacy = probe.legacy
      const so = ACKNOWLEDGE | DRIVER
      expect(order.slice(0, 4)).toEqual(['reset', `status=${ACKNOWLEDGE}`, `status=${so}`, 'features'])
      const checked = legacy ? [] : [`status=${so | FEATURES_OK}`, 'status?']
      const before = order.lastIndexOf('accept')
      expect(before).toBeGreaterThan(3)
      expect(order.slice(before + 1, before + 1 + checked.length + 1)).toEqual([...checked, 'interrupts'])
      const queues = order.filter((entry) => entry === 'queue')
      expect(queues.length).toBeGreaterThan(0)
      const live = `status=${so | (legacy ? 0 : FEATURES_OK) | DRIVER_OK}`
      expect(order.slice(before + 1 + checked.length + 1).slice(0, queues.length + 1)).toEqual([...queues, live])
      // No notification, and no buffer that needed one, before DRIVER_OK.
      const firstNotify = probe.log.indexOf('notify')
      if (firstNotify >= 0) expect(firstNotify).toBeGreaterThan(probe.log.indexOf(live))
      await driver.close()
      expect(bench.violations?.() ?? []).toEqual([])
    })

    it('§ 2.1.1 never clears a status bit but by a reset', async () => {
      const { probe } = await attach()
      const driver = await options.open(probe)
      await options.use(driver)
      await driver.close()
      let status = 0
      for (const next of probe.statuses) {
        expect(status & ~next).toBe(0)
        status = next
      }
    })

    it('works, and leaves nothing behind', async () => {
      const { bench, probe } = await attach()
      const driver = await options.open(probe)
      await options.use(driver)
      expect(probe.dma.stats.allocatedBytes).toBeGreaterThan(0)
      await driver.close()
      expect(probe.dma.stats).toMatchObject({ allocatedBytes: 0, allocatedRegions: 0, quarantinedBytes: 0 })
      expect(probe.log.filter((entry) => entry === 'reset' || entry === 'close').slice(-2)).toEqual(['reset', 'close'])
      expect(bench.violations?.() ?? []).toEqual([])
    })

    it('§ 2.2.1 accepts nothing it was not offered, and nothing it does not know', async () => {
      const { probe } = await attach()
      probe.extraFeatures = UNKNOWN & ~featureSet(...Object.values(options.spec.features))
      const driver = await options.open(probe)
      expect(probe.accepted & ~probe.offered).toBe(0n)
      expect(hasFeature(probe.accepted, ReservedFeature.VERSION_1)).toBe(!probe.legacy)
      await driver.close()
    })

    it('does without every feature it does not require', async () => {
      const { bench, probe } = await attach()
      const optional = Object.keys(options.spec.features).filter((feature) => !options.spec.required?.includes(feature))
      const withoutFeatures = [...optional, 'INDIRECT_DESC', 'EVENT_IDX', 'ANY_LAYOUT', 'RING_RESET']
      const driver = await options.open(probe, { withoutFeatures })
      const masked = featureSet(...optional.map((feature) => options.spec.features[feature] as number), 27, 28, 29, 40)
      expect(probe.accepted & masked).toBe(0n)
      await options.use(driver)
      await driver.close()
      expect(bench.violations?.() ?? []).toEqual([])
    })

    it('works polled', async () => {
      const { probe } = await attach()
      const driver = await options.open(probe, { interrupts: 'none' })
      await options.use(driver)
      await driver.close()
    })

    it('§ 3.1.1 gives up, and says so, when FEATURES_OK does not stand', async () => {
      const { probe } = await attach()
      if (probe.legacy) return
      probe.statusMask = ~FEATURES_OK
      await expect(options.open(probe)).rejects.toMatchObject({ code: 'features.refused' })
      expect((probe.statuses.at(-1) ?? 0) & FAILED).toBe(FAILED)
      expect(probe.statuses.some((status) => (status & DRIVER_OK) !== 0)).toBe(false)
      expect(probe.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
      expect(probe.log.at(-1)).toBe('close')
    })

    it('refuses a name that is no feature, and leaves the device alone', async () => {
      const { probe } = await attach()
      await expect(options.open(probe, { withoutFeatures: ['NO_SUCH_FEATURE'] })).rejects.toBeInstanceOf(Error)
      expect(probe.statuses.some((status) => (status & DRIVER_OK) !== 0)).toBe(false)
      expect(probe.dma.stats).toMatchObject({ allocatedBytes: 0 })
    })

    it('is closed once, however often and by whomever', async () => {
      const { probe } = await attach()
      const driver = await options.open(probe)
      await Promise.all([driver.close(), driver.close(), driver[Symbol.asyncDispose]()])
      await driver.close()
      expect(probe.log.filter((entry) => entry === 'close').length).toBe(1)
      await expect(options.use(driver)).rejects.toBeInstanceOf(Error)
    })

    it('fails when the device is gone, and closes all the same', async () => {
      const { probe } = await attach()
      const driver = await options.open(probe)
      await options.use(driver)
      probe.lose()
      await expect(options.use(driver)).rejects.toBeInstanceOf(Error)
      await driver.close()
      expect(probe.dma.stats).toMatchObject({ allocatedBytes: 0 })
    })

    it('sets memory aside for good when the device does not confirm its reset', async () => {
      const { probe } = await attach()
      const driver = await options.open(probe)
      const { allocatedBytes } = probe.dma.stats
      probe.resetFails = true
      await expect(driver.close()).rejects.toMatchObject({ code: 'device.reset-timeout' })
      expect(probe.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: allocatedBytes })
      expect(probe.log.at(-1)).toBe('close')
    })

    const rounds = options.rounds ?? ROUNDS
    it(`opens and closes ${rounds} times`, async () => {
      const { bench, probe } = await attach()
      const first = await options.open(probe)
      await first.close()
      await bench.dispose?.()
      benches.length = 0
      for (let round = 1; round < rounds; round++) {
        const again = await options.attach()
        const driver = await options.open(again.transport)
        if (round % 10 === 0) await options.use(driver)
        await driver.close()
        expect(again.transport.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
        expect(again.violations?.() ?? []).toEqual([])
        await again.dispose?.()
      }
    })
  })
}
