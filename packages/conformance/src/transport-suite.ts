import type { InterruptMode, Transport } from '@virtio-ts/core'
import type { DmaRegion } from '@virtio-ts/memory'
import { DeviceStatus, featureSet, hasFeature, isVirtioError, ReservedFeature, splitRingLayout } from '@virtio-ts/spec'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

/** A transport to examine, with a device behind it that nobody has initialised. */
export interface OpenTransport {
  readonly transport: Transport
  /** Ends what the transport stands on; called after `transport.close()`. */
  dispose?(): Promise<void>
}

export interface TransportSuiteOptions {
  /** Opens a new transport; each test has its own. */
  open(): Promise<OpenTransport>
  /** Which interface it is expected to be. */
  readonly legacy: boolean
  /** Notifications it is expected to set up for `auto`; any when left out. */
  readonly interrupts?: InterruptMode
  /** Bytes of configuration the device is known to have, where the bus tells of more; all of `configLength` when left out. */
  readonly configBytes?: number
}

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK } = DeviceStatus
/** An index that no device has a queue at. */
const NO_QUEUE = 4000
/** What a driver may only accept when the device offers it, and then mostly has to. */
const plumbing = featureSet(ReservedFeature.VERSION_1, ReservedFeature.ACCESS_PLATFORM)

/**
 * The `Transport` contract as tests: what a driver may rely on, whatever bus and device are behind. The device needs a queue 0 with
 * split rings.
 */
export function transportSuite(name: string, options: TransportSuiteOptions): void {
  describe(`${name}: Transport contract`, () => {
    let opened: OpenTransport
    let transport: Transport
    const regions: DmaRegion[] = []

    beforeEach(async () => {
      opened = await options.open()
      transport = opened.transport
    })

    afterEach(async () => {
      await transport.close()
      for (const region of regions.splice(0)) transport.dma.free(region)
      await opened.dispose?.()
    })

    const configBytes = (): number => Math.min(transport.configLength, options.configBytes ?? Number.POSITIVE_INFINITY)

    /** Everything up to the point where queues are set up. */
    async function negotiate(features?: bigint): Promise<bigint> {
      await transport.reset()
      await transport.setStatus(ACKNOWLEDGE)
      await transport.setStatus(ACKNOWLEDGE | DRIVER)
      const accepted = features ?? (await transport.deviceFeatures()) & plumbing
      await transport.acceptFeatures(accepted)
      if (!transport.legacy) await transport.setStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK)
      return accepted
    }

    async function enableQueue(index: number): Promise<void> {
      const size = await transport.queueSizeMax(index)
      const layout = splitRingLayout(size, transport.legacy)
      const region = transport.dma.allocate(layout.length, layout.alignment)
      regions.push(region)
      const at = (offset: number): DmaRegion['deviceAddress'] =>
        (region.deviceAddress + offset) as DmaRegion['deviceAddress']
      await transport.enableQueue(index, size, {
        descriptorArea: at(layout.descriptorArea),
        driverArea: at(layout.driverArea),
        deviceArea: at(layout.deviceArea),
      })
    }

    async function start(interrupts: 'auto' | InterruptMode = 'auto'): Promise<void> {
      await negotiate()
      await transport.setUpInterrupts(1, interrupts)
      await enableQueue(0)
      await transport.setStatus((await transport.status()) | DRIVER_OK)
    }

    it('says what it is', () => {
      expect(transport.legacy).toBe(options.legacy)
      expect(transport.name).not.toBe('')
      expect(transport.location).not.toBe('')
      expect(transport.deviceType).toBeGreaterThan(0)
    })

    it('§ 2.4.2 reads status 0 after a reset, from any state and any number of times', async () => {
      await transport.reset()
      expect(await transport.status()).toBe(0)
      await start()
      expect((await transport.status()) & DRIVER_OK).toBe(DRIVER_OK)
      await transport.reset()
      await transport.reset()
      expect(await transport.status()).toBe(0)
    })

    it('§ 2.1.1 keeps status bits as they are added', async () => {
      await transport.reset()
      await transport.setStatus(ACKNOWLEDGE)
      expect(await transport.status()).toBe(ACKNOWLEDGE)
      await transport.setStatus(ACKNOWLEDGE | DRIVER)
      expect(await transport.status()).toBe(ACKNOWLEDGE | DRIVER)
    })

    it('§ 2.2 offers features that stay the same, VERSION_1 among them unless legacy', async () => {
      await transport.reset()
      const offered = await transport.deviceFeatures()
      expect(await transport.deviceFeatures()).toBe(offered)
      expect(hasFeature(offered, ReservedFeature.VERSION_1)).toBe(!transport.legacy)
      if (transport.legacy) expect(offered >> 32n).toBe(0n)
    })

    it('§ 3.1.1 has an accepted subset stand', async () => {
      await negotiate()
      const expected = transport.legacy ? ACKNOWLEDGE | DRIVER : ACKNOWLEDGE | DRIVER | FEATURES_OK
      expect(await transport.status()).toBe(expected)
    })

    it('negotiates anew after a reset', async () => {
      const first = await negotiate()
      expect(await negotiate()).toBe(first)
      expect(((await transport.status()) & FEATURES_OK) !== 0).toBe(!transport.legacy)
    })

    it('tells queue sizes, and 0 where there is no queue', async () => {
      await negotiate()
      const size = await transport.queueSizeMax(0)
      expect(size).toBeGreaterThan(0)
      expect(size).toBeLessThanOrEqual(32768)
      expect(await transport.queueSizeMax(0)).toBe(size)
      expect(await transport.queueSizeMax(NO_QUEUE)).toBe(0)
      expect(await transport.queueSizeMax(0)).toBe(size)
    })

    it('refuses to enable a queue that is not there', async () => {
      await negotiate()
      const nowhere = { descriptorArea: 0, driverArea: 0, deviceArea: 0 } as unknown as Parameters<
        Transport['enableQueue']
      >[2]
      expect(isVirtioError(await transport.enableQueue(NO_QUEUE, 8, nowhere).catch((reason: unknown) => reason))).toBe(
        true,
      )
    })

    it('reads configuration the same whatever the width, up to its end', async () => {
      await negotiate()
      const length = Math.min(configBytes(), 8)
      const whole = new Uint8Array(length)
      await transport.readConfig(0, whole)
      for (const width of [1, 2, 4, 3]) {
        for (let offset = 0; offset + width <= length; offset += width) {
          const part = new Uint8Array(width)
          await transport.readConfig(offset, part)
          expect([...part]).toEqual([...whole.subarray(offset, offset + width)])
        }
      }
      await transport.readConfig(transport.configLength, new Uint8Array(0))
    })

    it('refuses configuration beyond its end', async () => {
      await negotiate()
      const beyond = transport.readConfig(transport.configLength, new Uint8Array(1))
      await expect(beyond).rejects.toMatchObject({ name: 'VirtioError', code: 'config.bounds' })
      await expect(transport.readConfig(-1, new Uint8Array(1))).rejects.toMatchObject({ code: 'config.bounds' })
      await expect(transport.writeConfig(transport.configLength, new Uint8Array(1))).rejects.toMatchObject({
        code: 'config.bounds',
      })
    })

    it('reads the same configuration with and without interrupts set up', async () => {
      await negotiate()
      const read = async (): Promise<number[]> => {
        const into = new Uint8Array(Math.min(configBytes(), 6))
        await transport.readConfig(0, into)
        return [...into]
      }
      const before = await read()
      await transport.setUpInterrupts(1, 'auto')
      expect(await read()).toEqual(before)
      await transport.setUpInterrupts(1, 'none')
      expect(await read()).toEqual(before)
    })

    it('sets up interrupts, or says that it polls', async () => {
      await negotiate()
      const { mode, vectors } = await transport.setUpInterrupts(1, 'auto')
      expect(['msix', 'intx', 'eventfd', 'none']).toContain(mode)
      if (options.interrupts) expect(mode).toBe(options.interrupts)
      if (mode === 'none') expect(vectors).toBe(0)
      expect(await transport.setUpInterrupts(1, 'none')).toEqual({ mode: 'none', vectors: 0 })
    })

    it('starts, stops and starts again', async () => {
      for (let round = 0; round < 3; round++) {
        await start()
        transport.notify(0)
        expect((await transport.status()) & (DRIVER_OK | DeviceStatus.DEVICE_NEEDS_RESET | DeviceStatus.FAILED)).toBe(
          DRIVER_OK,
        )
        await transport.reset()
        for (const region of regions.splice(0)) transport.dma.free(region)
      }
    })

    it('starts without interrupts', async () => {
      await start('none')
      transport.notify(0)
      expect((await transport.status()) & DRIVER_OK).toBe(DRIVER_OK)
    })

    it('never throws out of notify, whatever the state', async () => {
      transport.notify(0)
      await start()
      transport.notify(0)
      transport.notify(NO_QUEUE)
      transport.notify(-1)
      await transport.reset()
      transport.notify(0)
      await transport.close()
      transport.notify(0)
    })

    it('closes once, from any state, and refuses work afterwards with a VirtioError', async () => {
      await start()
      await Promise.all([transport.close(), transport.close()])
      await transport.close()
      const attempts = [
        transport.status(),
        transport.setStatus(ACKNOWLEDGE),
        transport.reset(),
        transport.deviceFeatures(),
        transport.queueSizeMax(0),
        transport.setUpInterrupts(1, 'auto'),
      ]
      for (const attempt of attempts) {
        expect(isVirtioError(await attempt.then(() => undefined).catch((reason: unknown) => reason))).toBe(true)
      }
    })
  })
}
