import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Testpmd, vhostDevice } from '@virtio-ts/conformance/testpmd'
import { NetDriver } from '@virtio-ts/driver-net'
import { DeviceType } from '@virtio-ts/spec'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { exchange, numbers } from '../support/numbered-traffic.ts'

requirement('dpdk-testpmd')('a network device at testpmd', () => {
  let folder = ''
  let launched = 0
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-vhost-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))
  const socketPath = (): string => join(folder, `${launched++}`)

  for (const ring of ['split', 'packed'] as const) {
    it(`brings frames back in order, ${ring} ring`, async () => {
      const path = socketPath()
      await using testpmd = await Testpmd.launch({ devices: [vhostDevice({ path })], forward: 'macswap' })
      await testpmd.start()
      await using endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK })
      const transport = await endpoint.connect()
      await using driver = await NetDriver.open(transport, {
        interrupts: 'none',
        withoutFeatures: ring === 'packed' ? [] : ['RING_PACKED'],
      })
      console.log(JSON.stringify(driver.describe()))
      expect(await exchange(driver, { first: 0, count: 20_000 })).toEqual(numbers(0, 20_000))
      console.log(testpmd.output)
    })
  }
})
