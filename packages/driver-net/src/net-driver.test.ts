import type { DeviceMoments, DevicePoint, DeviceProfile } from '@virtio-ts/device-models'
import { hostile, modelFunction, NetModel, vboxModel } from '@virtio-ts/device-models'
import { heapDma } from '@virtio-ts/memory/heap'
import { featureSet, NetFeature } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { formatMac, NetDriver, type NetDriverFeature, type NetEvents, netSpec } from './index.ts'
import { type ModelBench, type ModelBenchOptions, openModelBench } from '../test-support/net-bench.ts'

const benches: ModelBench[] = []

async function bench(options: ModelBenchOptions = {}): Promise<ModelBench> {
  const opened = await openModelBench(options)
  benches.push(opened)
  return opened
}

afterEach(async () => {
  for (const { driver, fn } of benches.splice(0)) {
    await driver.close()
    expect(fn.violations).toEqual([])
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  }
})

/** A device as honest as the next, but for what a test changes. */
function profile<Point extends DevicePoint>(at: Point, change: (moment: DeviceMoments[Point]) => void): DeviceProfile {
  return { name: 'changed', on: (point, moment) => void (point === (at as DevicePoint) && change(moment as never)) }
}

describe('§ 5.1.3.1 a feature without those it needs', () => {
  const everything = featureSet(...Object.values(netSpec.features))

  it.each((netSpec.dependencies ?? []).map(({ feature, anyOf }) => [feature, anyOf] as const))(
    '%s without %s is not accepted',
    async (feature, anyOf) => {
      const rawFeatures = everything & ~featureSet(...anyOf.map((name) => NetFeature[name as NetDriverFeature]))
      // The model finds fault with what it offers itself; what counts is what the driver makes of it.
      const model = new NetModel({ rawFeatures })
      const fn = modelFunction(model)
      const driver = await NetDriver.open(await VirtioPciDriver.attach(fn), { vlanFilter: true })
      expect(driver.features.has(feature as NetDriverFeature)).toBe(false)
      await driver.close()
      await fn.close()
    },
  )
})

describe('receive buffers', () => {
  it.each([
    ['alone', { MRG_RXBUF: false, GUEST_CSUM: false, MTU: false }, 1526, 256],
    ['for segmented packets', { MRG_RXBUF: false }, 65_601, 64],
    ['merged', {}, 2112, 256],
  ])('%s are as large and as many as they have to be', async (_, features, length, count) => {
    const { fn, driver } = await bench({ model: { features } })
    const queue = driver.describe().queues[0]
    expect(queue).toMatchObject({ name: 'receiveq1', inFlight: count })
    expect(fn.dma.stats.allocatedBytes).toBeGreaterThan(count * length)
  })

  it('of a queue of four take a packet of 64 KiB', async () => {
    const { model, driver, received, turns } = await bench({ options: { queueSize: 4 } })
    const frame = new Uint8Array(54 + 60_000)
    frame.set(driver.mac)
    frame.set([8, 0, 0x45, 0, 0xea, 0x88, 0, 1, 0x40, 0, 64, 6], 12)
    frame[46] = 0x50
    model.deliver(frame, { flags: 1, gsoType: 1, gsoSize: 1448, csumStart: 34, csumOffset: 16, hdrLen: 54 })
    await turns()
    expect(received.map((packet) => packet.length)).toEqual([frame.length])
  })
})

describe('polled, with the event loop blocked', () => {
  it.each([{}, { INDIRECT_DESC: false, EVENT_IDX: false }])(
    'frames go both ways, rings go around (%j)',
    async (ringFeatures) => {
      const { model, driver, sent, frame } = await bench({
        on: { ringFeatures },
        options: { interrupts: 'none', queueSize: 16 },
      })
      const answers: number[] = []
      // Not a single await: no promise, timer or notification gets through.
      for (let i = 0; i < 1000; i++) {
        const packet = frame(60 + (i % 1000))
        model.deliver(packet)
        driver.receive((received) => {
          answers.push(received.length)
          const slot = driver.reserve(received.length)
          received.copyTo(driver.bytes, driver.frameOffset(slot))
          driver.commit(slot, received.length)
        }, 64)
        driver.publish()
        driver.poll()
      }
      expect(answers.length).toBe(1000)
      expect(sent.map(({ length }) => length)).toEqual(answers)
    },
  )

  it('commands are carried out too, once promises get through', async () => {
    const { model, driver } = await bench({ options: { interrupts: 'none' } })
    const done = driver.setReceiveMode({ promiscuous: true })
    for (let i = 0; i < 100; i++) driver.poll()
    await done
    expect(model.receiveFilter.promiscuous).toBe(true)
  })
})

describe('the address', () => {
  const mac = Uint8Array.of(2, 0, 0, 0, 0, 9)

  it('of the device is taken, and not told back', async () => {
    const { model, driver } = await bench({ model: { mac: '52:54:00:aa:bb:cc' } })
    expect(formatMac(driver.mac)).toBe('52:54:00:aa:bb:cc')
    expect(model.counters.controlCommands).toBe(0)
  })

  it('of the owner is told by a command', async () => {
    const { model, driver } = await bench({ options: { mac } })
    expect(driver.features.has('MAC')).toBe(true)
    expect([formatMac(driver.mac), model.mac]).toEqual(['02:00:00:00:00:09', '02:00:00:00:00:09'])
  })

  it('of the owner is used although nobody can be told, and MAC then is not negotiated', async () => {
    const { driver, model } = await bench({ model: { features: { CTRL_MAC_ADDR: false } }, options: { mac } })
    expect(driver.features.has('MAC')).toBe(false)
    expect(formatMac(driver.mac)).toBe('02:00:00:00:00:09')
    expect(model.receiveFilter.mac).toBeUndefined()
  })

  it('§ 5.1.4.3 of the owner is written to a legacy device', async () => {
    const { driver, model } = await bench({
      on: { interface: 'legacy' },
      model: { features: { CTRL_MAC_ADDR: false } },
      options: { mac },
    })
    expect(driver.features.has('MAC')).toBe(true)
    expect(model.mac).toBe('02:00:00:00:00:09')
  })

  it('is random and local where there is none, another one each time, and the device is told', async () => {
    const one = await bench({ model: { features: { MAC: false } } })
    const other = await bench({ model: { features: { MAC: false } } })
    expect((one.driver.mac[0] ?? 0) & 3).toBe(2)
    expect(formatMac(one.driver.mac)).not.toBe(formatMac(other.driver.mac))
    expect(one.model.receiveFilter.mac).toBe(formatMac(one.driver.mac))
  })

  it('given out is a copy', async () => {
    const { driver } = await bench()
    driver.mac.fill(0)
    expect(driver.mac).not.toEqual(new Uint8Array(6))
  })
})

describe('the MTU', () => {
  it.each([
    [9000, undefined, 9000],
    [9000, 1500, 1500],
    [1400, 9000, 1400],
  ])('of the device %d and the owner %s is %d', async (mtu, wanted, used) => {
    const { driver } = await bench({ model: { mtu }, options: wanted === undefined ? {} : { mtu: wanted } })
    expect(driver.mtu).toBe(used)
    const slot = driver.reserve(used + 14)
    expect(driver.commit(slot, used + 14)).toBe(true)
    // § 5.1.4.2: not one byte more.
    const other = driver.reserve(used + 15)
    expect(driver.commit(other, used + 15)).toBe(false)
    driver.publish()
  })

  it('of the owner counts where the device has none', async () => {
    const { driver, received, model, frame, turns } = await bench({
      model: { features: { MTU: false } },
      options: { mtu: 9000 },
    })
    expect(driver.mtu).toBe(9000)
    model.deliver(frame(9014))
    await turns()
    expect(received.map(({ length }) => length)).toEqual([9014])
  })
})

describe('the link', () => {
  it('may be down from the start, and its speed unknown', async () => {
    const { driver } = await bench({ model: { linkUp: false, speed: 0xffffffff, duplex: 0xff } })
    expect(driver.link).toEqual({ up: false })
  })

  it('flaps are told in order, each of them', async () => {
    const { driver, model, turns } = await bench()
    const seen: boolean[] = []
    const stop = driver.on('link', ({ up }) => seen.push(up))
    for (let i = 0; i < 50; i++) {
      model.setLink(i % 2 === 1)
      await turns(3)
    }
    await turns()
    expect(seen).toEqual(Array.from({ length: 50 }, (_, i) => i % 2 === 1))
    stop()
    model.setLink(false)
    await turns()
    expect(seen.length).toBe(50)
    expect(driver.link.up).toBe(false)
    expect(driver.stats()).toMatchObject({ link_changes: 51 })
  })

  it('tells a new speed', async () => {
    const { driver, model, turns } = await bench()
    const seen = vi.fn<NetEvents['link']>()
    driver.on('link', seen)
    model.setSpeed(25_000, 0)
    await turns()
    expect(seen.mock.calls).toEqual([[{ up: true, speed: 25_000, duplex: 'half' }]])
  })
})

describe('a request to announce', () => {
  it('that was there before the driver is told once its owner can listen, and again until acknowledged', async () => {
    let asking = true
    const { driver, turns, model } = await bench({
      profile: profile('config-read', (moment) => {
        if (asking && moment.offset === 6) moment.value |= 2
      }),
    })
    const asked = vi.fn<NetEvents['announce']>()
    driver.on('announce', asked)
    await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(1))
    model.setSpeed(1, 1)
    await turns()
    expect(asked).toHaveBeenCalledTimes(1)
    await driver.acknowledgeAnnounce()
    model.setSpeed(2, 1)
    await turns()
    expect(asked).toHaveBeenCalledTimes(2)
    asking = false
    await driver.acknowledgeAnnounce()
    model.setSpeed(3, 1)
    await turns()
    expect(asked).toHaveBeenCalledTimes(2)
  })

  it('is acknowledged at once where the driver is to do that', async () => {
    const { driver, model, turns } = await bench({ options: { acknowledgeAnnounce: 'driver' } })
    const asked = vi.fn<NetEvents['announce']>()
    driver.on('announce', asked)
    model.announce()
    await turns()
    expect(asked).toHaveBeenCalledTimes(1)
    expect(model.announcePending).toBe(false)
  })
})

describe('commands', () => {
  it('say what they say', async () => {
    const { driver, model } = await bench({ options: { vlanFilter: true } })
    await driver.setReceiveMode({ promiscuous: true, noBroadcast: true })
    await driver.setMacTable({
      unicast: [Uint8Array.of(2, 0, 0, 0, 0, 5)],
      multicast: [Uint8Array.of(1, 0, 0x5e, 0, 0, 1), Uint8Array.of(0x33, 0x33, 0, 0, 0, 1)],
    })
    await driver.addVlan(4095)
    await driver.addVlan(1)
    await driver.addVlan(2)
    await driver.removeVlan(2)
    expect(model.receiveFilter).toMatchObject({
      promiscuous: true,
      noBroadcast: true,
      allMulticast: false,
      unicastTable: ['02:00:00:00:00:05'],
      multicastTable: ['01:00:5e:00:00:01', '33:33:00:00:00:01'],
      vlans: [1, 4095],
    })
    await driver.setGuestOffloads({ checksum: true, tso6: true })
    expect(model.offloads).toBe(featureSet(NetFeature.GUEST_CSUM, NetFeature.GUEST_TSO6))
    expect(driver.offloads.receive).toEqual({ checksum: true, tso4: false, tso6: true, ecn: false, ufo: false })
  })

  it('that ask too much are refused before the device sees them', async () => {
    const { driver, model } = await bench({ model: { features: { GUEST_UFO: false } }, options: { vlanFilter: true } })
    await expect(driver.addVlan(4096)).rejects.toThrow(RangeError)
    await expect(driver.addVlan(1.5)).rejects.toThrow(RangeError)
    await expect(driver.setGuestOffloads({ ufo: true })).rejects.toThrow(RangeError)
    await expect(driver.setMacTable({ unicast: [Uint8Array.of(1, 0, 0, 0, 0, 1)], multicast: [] })).rejects.toThrow(
      RangeError,
    )
    await expect(driver.setMacTable({ unicast: [], multicast: [Uint8Array.of(2, 0, 0, 0, 0, 1)] })).rejects.toThrow(
      RangeError,
    )
    const many = Array.from({ length: 2000 }, (_, i) => Uint8Array.of(2, 0, 0, 0, i >> 8, i))
    await expect(driver.setMacTable({ unicast: many, multicast: [] })).rejects.toThrow(RangeError)
    expect(model.counters.controlCommands).toBe(0)
  })

  it('given all at once go one after the other, in order', async () => {
    const { driver, model } = await bench({ options: { vlanFilter: true } })
    await Promise.all([
      ...Array.from({ length: 50 }, (_, i) => driver.addVlan(i)),
      driver.setReceiveMode({ promiscuous: true }),
      ...Array.from({ length: 49 }, (_, i) => driver.removeVlan(i)),
    ])
    expect(model.receiveFilter).toMatchObject({ vlans: [49], promiscuous: true })
    expect(model.counters).toMatchObject({ controlCommands: 100, controlErrors: 0 })
  })
})

describe('masking', () => {
  it('a feature masks those that need it', async () => {
    const { driver } = await bench({ options: { withoutFeatures: ['CSUM', 'GUEST_CSUM', 'CTRL_VQ'] } })
    expect(driver.offloads).toEqual({
      transmit: { checksum: false, tso4: false, tso6: false, ecn: false, ufo: false },
      receive: { checksum: false, tso4: false, tso6: false, ecn: false, ufo: false },
    })
    for (const name of ['CTRL_RX', 'CTRL_MAC_ADDR', 'GUEST_ANNOUNCE', 'CTRL_GUEST_OFFLOADS'] as const)
      expect(driver.features.has(name)).toBe(false)
  })

  it('VLANs are not filtered unless asked for', async () => {
    expect((await bench()).driver.features.has('CTRL_VLAN')).toBe(false)
    expect((await bench({ options: { vlanFilter: true } })).driver.features.has('CTRL_VLAN')).toBe(true)
  })

  it('a feature nobody knows is an error, and one this driver never accepts is not', async () => {
    await expect(openModelBench({ options: { withoutFeatures: ['NONSENSE'] } })).rejects.toThrow('NONSENSE')
    await bench({ options: { withoutFeatures: ['MQ', 'RSS'] } })
  })
})

describe('VirtualBox 4.3', () => {
  it('gets a header of exactly ten bytes in a descriptor of its own, both ways, or nothing moves', async () => {
    const fn = vboxModel('4.3')
    const driver = await NetDriver.open(await VirtioPciDriver.attach(fn), {
      withoutFeatures: ['MRG_RXBUF'],
      interrupts: 'none',
    })
    expect([driver.headerLength, driver.describe().interrupts]).toEqual([10, 'none'])
    const sent: number[] = []
    fn.model.onFrame(({ length }) => sent.push(length))
    for (let i = 0; i < 600; i++) {
      expect(driver.send(new Uint8Array(60 + i))).toBe(true)
      const frame = new Uint8Array(60 + i)
      frame.set(driver.mac)
      expect(fn.model.deliver(frame)).toBe('delivered')
      expect(driver.receive(({ length }) => expect(length).toBe(60 + i), 2)).toBe(1)
    }
    expect(sent.length).toBe(600)
    await driver.close()
    expect(fn.violations).toEqual([])
    await fn.close()
  })
})

describe('a device that notifies before its own notification returns', () => {
  it('finds a driver that takes one thing after the other', async () => {
    const model = new NetModel()
    const fn = modelFunction(model)
    const inner = await VirtioPciDriver.attach(fn)
    const listeners: (() => void)[] = []
    const transport = new Proxy(inner, {
      get(target, key) {
        if (key === 'onUsed') return (index: number, listener: () => void) => (listeners[index] = listener)
        if (key === 'notify') {
          return (index: number) => {
            target.notify(index)
            for (const listener of listeners) listener?.()
          }
        }
        const value: unknown = Reflect.get(target, key, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const driver = await NetDriver.open(transport, { queueSize: 16, transmitBuffers: 4, watchdog: 0 })
    let received = 0
    driver.onReceive(() => {
      do {
        // Each one is answered at once, which makes the device notify of both queues in the middle of it.
        while (driver.receive(() => void (++received && driver.send(new Uint8Array(60))), 4) > 0);
      } while (driver.armReceive())
    })
    let space = 0
    driver.onTransmitSpace(() => space++)
    let sent = 0
    model.onFrame(() => sent++)
    const frame = new Uint8Array(80)
    frame.set(driver.mac)
    for (let i = 0; i < 500; i++) {
      model.deliver(frame)
      listeners[0]?.()
    }
    expect([received, sent]).toEqual([500, 500])
    await driver.close()
    await fn.close()
  })
})

describe('opening', () => {
  it.each([
    ['buffers that cannot be', { receiveBuffers: 0 }, RangeError],
    ['a head that is too short', { head: new Uint8Array(100) }, RangeError],
    ['more memory than there is', { mtu: 9000, transmitBuffers: 256 }, Error],
  ])('with %s fails, and leaves nothing behind', async (_, options, error) => {
    const fn = modelFunction(new NetModel({ features: { MTU: false } }), { dma: heapDma(4 * 1024 * 1024) })
    await expect(NetDriver.open(await VirtioPciDriver.attach(fn), options)).rejects.toBeInstanceOf(error)
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    // Nothing holds the device: another driver takes it over.
    const driver = await NetDriver.open(await VirtioPciDriver.attach(fn), { queueSize: 8 })
    await driver.close()
    await fn.close()
  })

  it('on a configuration that changed since it was looked at fails too', async () => {
    let reads = 0
    const changing = profile('config-read', (moment) => {
      if (moment.offset === 10 && ++reads > 1) moment.value = 40
    })
    const fn = modelFunction(new NetModel(), { profile: changing })
    await expect(NetDriver.open(await VirtioPciDriver.attach(fn))).rejects.toMatchObject({
      code: 'net.config-invalid',
      details: { detail: { field: 'mtu', value: 40 } },
    })
    expect(fn.dma.stats).toMatchObject({ allocatedBytes: 0, quarantinedBytes: 0 })
    await fn.close()
  })
})

describe('lifetime', () => {
  it('after a fault, the same device opened again works', async () => {
    const fn = modelFunction(new NetModel(), { profile: hostile({ kind: 'needs-reset', queue: 1, after: 1 }) })
    for (const round of [1, 2]) {
      const driver = await NetDriver.open(await VirtioPciDriver.attach(fn), { watchdog: 5 })
      if (round === 1) {
        const code = new Promise((resolve) => driver.on('fault', (reason) => resolve(reason.code)))
        const sending = setInterval(() => void driver.send(new Uint8Array(60)), 1)
        expect(await code).toBe('device.needs-reset')
        clearInterval(sending)
        const late = vi.fn<NetEvents['fault']>()
        driver.on('fault', late)
        await vi.waitFor(() => expect(late).toHaveBeenCalledTimes(1))
      } else {
        expect(driver.send(new Uint8Array(60))).toBe(true)
        expect(await driver.drain()).toBe(0)
        expect(driver.describe().generation).toBeGreaterThan(1)
      }
      await driver.close()
    }
    await fn.close()
  })

  it('may end inside a sink, a listener, or several places at once', async () => {
    const { model, driver, frame, turns } = await bench({ options: { interrupts: 'none' } })
    for (let i = 0; i < 5; i++) model.deliver(frame())
    const lengths: number[] = []
    const closing: Promise<void>[] = []
    driver.receive((packet) => {
      closing.push(driver.close())
      lengths.push(packet.toFrame().length)
    }, 10)
    expect(lengths).toEqual([100])
    closing.push(driver.close(), driver[Symbol.asyncDispose]())
    await Promise.all(closing)
    await turns()
  })

  it('ends with a command under way and frames in flight, whatever comes first', async () => {
    for (let round = 0; round < 20; round++) {
      const { driver, model, frame, turns } = await bench({ on: { execution: 'deferred' } })
      const command = driver.setReceiveMode({ promiscuous: true }).then(
        () => 'done',
        (error) => error.code,
      )
      driver.send(frame())
      model.deliver(frame())
      model.setLink(false)
      await turns(round % 5)
      await driver.close()
      expect(['done', 'device.closed']).toContain(await command)
    }
  })
})
