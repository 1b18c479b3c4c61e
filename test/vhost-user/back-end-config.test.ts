import { NetModel, RngModel, strictSession, VhostUserBackEnd, type VhostUserOptions } from '@virtio-ts/device-models'
import { NetDriver } from '@virtio-ts/driver-net'
import { RngDriver } from '@virtio-ts/driver-rng'
import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { until } from './hostile-bench.ts'

const packed = { RING_PACKED: true }
let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virtio-ts-back-end-config-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe.each([
  ['split', {}],
  ['packed', packed],
])('a model behind vhost-user, %s', (_name, ringFeatures) => {
  const options = (): VhostUserOptions & { path: string } => ({
    path: join(folder, 'socket'),
    ringFeatures,
    sessionProfile: strictSession(),
  })
  const net = (): VhostUserEndpoint =>
    new VhostUserEndpoint({ path: join(folder, 'socket'), deviceType: DeviceType.NETWORK })

  it('gives random bytes', async () => {
    using backEnd = VhostUserBackEnd.serve(new RngModel({ source: (into) => into.fill(0x5a) }), options())
    const endpoint = new VhostUserEndpoint({ path: join(folder, 'socket'), deviceType: DeviceType.ENTROPY })
    const rng = await RngDriver.open(await endpoint.connect())
    for (const length of [1, 4096, 100_000]) {
      const bytes = await rng.randomFill(new Uint8Array(length))
      expect(bytes.every((byte) => byte === 0x5a)).toBe(true)
    }
    await rng.close()
    await endpoint.close()
    expect(backEnd.violations).toEqual([])
  })

  it('has its address, MTU and link from the back-end, and tells of each change of the link', async () => {
    const model = new NetModel({ mac: '02:00:00:00:00:42', mtu: 9000, linkUp: true })
    using backEnd = VhostUserBackEnd.serve(model, options())
    const endpoint = net()
    const driver = await NetDriver.open(await endpoint.connect())
    expect([[...driver.mac], driver.mtu, driver.link.up]).toEqual([[2, 0, 0, 0, 0, 0x42], 9000, true])
    const changes: boolean[] = []
    driver.on('link', ({ up }) => changes.push(up))
    for (const up of [false, true, false]) {
      model.setLink(up)
      await until(() => changes.at(-1) === up, `the link is ${up ? 'up' : 'down'}`)
    }
    expect(changes).toEqual([false, true, false])
    await driver.close()
    await endpoint.close()
    expect(backEnd.violations).toEqual([])
  })

  it("answers the back-end's own control queue: filters, address, announcement", async () => {
    const model = new NetModel()
    // Three queues, counted as queues: who counts pairs has no way to say where the control queue is.
    using backEnd = VhostUserBackEnd.serve(model, { ...options(), queueCount: 3 })
    const endpoint = net()
    const driver = await NetDriver.open(await endpoint.connect())
    expect(backEnd.session?.device.queues[2]?.hasUsedFd).toBe(true)
    await driver.setReceiveMode({ promiscuous: true, allMulticast: false })
    expect(model.receiveFilter.promiscuous).toBe(true)
    await driver.setReceiveMode({ promiscuous: false, allMulticast: false })
    expect(model.receiveFilter.promiscuous).toBe(false)
    await driver.setMac(Uint8Array.of(2, 0, 0, 0, 0, 0x77))
    expect(model.mac).toBe('02:00:00:00:00:77')
    const announced = new Promise<void>((resolve) => driver.on('announce', resolve))
    expect(model.announce()).toBe(true)
    await announced
    await driver.acknowledgeAnnounce()
    expect(model.announcePending).toBe(false)
    await driver.close()
    await endpoint.close()
    expect(backEnd.violations).toEqual([])
  })
})
