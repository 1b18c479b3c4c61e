import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Testpmd, vhostDevice } from '@virtio-ts/conformance/testpmd'
import type { Transport } from '@virtio-ts/core'
import { NetDriver, type ReceivedPacket } from '@virtio-ts/driver-net'
import { openFdCount } from '@virtio-ts/native'
import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { exchange, numberedFrame, numberOf, numbers } from '../support/numbered-traffic.ts'

const COUNT = 20_000

/** The same transport, for several drivers one after the other: closing a driver leaves it open. */
function leftOpen(transport: Transport): Transport {
  return new Proxy(transport, {
    get(target, name) {
      if (name === 'close') return async () => {}
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

requirement('dpdk-testpmd')('a network device at testpmd', () => {
  let folder = ''
  let launched = 0
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-vhost-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const newPath = (): string => join(folder, `${launched++}`)

  for (const ring of ['split', 'packed'] as const) {
    const withoutFeatures = ring === 'packed' ? [] : ['RING_PACKED']

    it(`${ring}: frames come back whole and in order; command after command, driver after driver on one connection`, async () => {
      const path = newPath()
      await using testpmd = await Testpmd.launch({ devices: [vhostDevice({ path })], forward: 'macswap' })
      await testpmd.start()
      const mac = Uint8Array.of(2, 0, 0, 0, 0, 0x10)
      await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK, net: { mac } })
      const transport = await endpoint.connect()
      for (let round = 0; round < 3; round++) {
        await using driver = await NetDriver.open(leftOpen(transport), { interrupts: 'none', withoutFeatures })
        expect(driver.features.has('RING_PACKED')).toBe(ring === 'packed')
        expect([...driver.mac]).toEqual([...mac])
        expect(driver.link.up).toBe(true)
        const first = round * COUNT
        expect(await exchange(driver, { first, count: COUNT })).toEqual(numbers(first, COUNT))
        await driver.setReceiveMode({ promiscuous: true })
        await driver.setMacTable({ unicast: [], multicast: [Uint8Array.of(1, 0, 0x5e, 0, 0, 1)] })
        await driver.setMac(Uint8Array.of(2, 0, 0, 0, 0, 0x11))
        await driver.setMac(mac)
        expect(driver.stats()).toMatchObject({ rx_packets: COUNT, tx_packets: COUNT, rx_dropped: 0, tx_dropped: 0 })
      }
      await transport.close()
      const stats = await testpmd.portStats()
      expect([stats.rxPackets, stats.txPackets]).toEqual([3 * COUNT, 3 * COUNT])
    })

    it(`${ring}: two pairs of queues`, async () => {
      const path = newPath()
      await using testpmd = await Testpmd.launch({ devices: [vhostDevice({ path, queues: 2 })], queues: 2 })
      await testpmd.start()
      await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK })
      await using driver = await NetDriver.open(await endpoint.connect(), {
        interrupts: 'none',
        queuePairs: 2,
        withoutFeatures,
      })
      expect(driver.describe().queuePairs).toMatchObject({ setUp: 2, inUse: 2 })
      for (const [i, pair] of driver.pairs.entries()) {
        // What comes in on a queue of testpmd's goes out on the one of the same number.
        const returned: number[] = []
        const take = (packet: ReceivedPacket): void => void returned.push(numberOf(packet.toFrame()))
        const first = 1000 * i
        for (let number = first; number < first + 100; number++) pair.send(numberedFrame(driver.mac, number))
        const end = performance.now() + 3000
        while (returned.length < 100 && performance.now() < end) {
          pair.poll()
          if (pair.receive(take, 64) === 0) await new Promise((resolve) => setImmediate(resolve))
        }
        expect(returned).toEqual(numbers(first, 100))
      }
    })
  }

  it('by notifications: frames come back, and nothing is missed', async () => {
    const path = newPath()
    await using testpmd = await Testpmd.launch({ devices: [vhostDevice({ path })] })
    await testpmd.start()
    await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK })
    await using driver = await NetDriver.open(await endpoint.connect(), { watchdog: 0 })
    expect(driver.describe()).toMatchObject({ interrupts: 'eventfd' })
    const returned: number[] = []
    let arrived = (): void => {}
    const take = (packet: ReceivedPacket): void => void returned.push(numberOf(packet.toFrame()))
    driver.onReceive(() => {
      do while (driver.receive(take, 64) > 0);
      while (driver.armReceive())
      arrived()
    })
    // One at a time: with a notification for each, none may get lost.
    for (let number = 0; number < 500; number++) {
      const back = new Promise<void>((resolve) => (arrived = resolve))
      expect(driver.send(numberedFrame(driver.mac, number))).toBe(true)
      await back
    }
    expect(returned).toEqual(numbers(0, 500))
  })

  it('that connects to us, and comes back after we sent it away', async () => {
    const path = newPath()
    await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK, server: true })
    const connecting = endpoint.connect()
    await using testpmd = await Testpmd.launch({ devices: [vhostDevice({ path, client: true })] })
    await testpmd.start()
    let transport = await connecting
    const fds = openFdCount()
    for (let round = 0; round < 3; round++) {
      await using driver = await NetDriver.open(transport, { interrupts: 'none' })
      const first = 1000 * round
      expect(await exchange(driver, { first, count: 1000 })).toEqual(numbers(first, 1000))
      await driver.close()
      // DPDK tries again once a second.
      transport = await endpoint.connect({ wait: true, signal: AbortSignal.timeout(10_000) })
    }
    expect(openFdCount()).toBe(fds)
    await transport.close()
  })

  it.each([1, 4])('through %i regions of memory', async (regions) => {
    const path = newPath()
    await using testpmd = await Testpmd.launch({ devices: [vhostDevice({ path })] })
    await testpmd.start()
    const memory = { length: 24 << 20, regions }
    await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK, memory })
    await using driver = await NetDriver.open(await endpoint.connect(), { interrupts: 'none' })
    expect(await exchange(driver, { first: 0, count: 2000 })).toEqual(numbers(0, 2000))
  })
})
