import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Testpmd, virtioUserDevice } from '@virtio-ts/conformance/testpmd'
import { NetModel, VhostUserBackEnd, type VhostUserOptions } from '@virtio-ts/device-models'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

// A front-end that nobody here wrote: what the back-end misreads shows.
requirement('dpdk-testpmd')("device models before testpmd's front-end", () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-testpmd-front-end-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  it.each<[string, boolean, VhostUserOptions]>([
    ['split', false, {}],
    ['split, without protocol features', false, { protocolFeatures: false }],
    ['packed', true, { ringFeatures: { RING_PACKED: true } }],
  ])('moves packets both ways, %s', async (name, packed, options) => {
    const path = join(folder, name.replaceAll(/\W+/g, '-'))
    const model = new NetModel({ promiscuous: true })
    using backEnd = VhostUserBackEnd.serve(model, { path, ...options })
    await using driver = await Testpmd.launch({
      devices: [virtioUserDevice({ path, packed })],
      forward: 'macswap',
    })
    await driver.start()
    const returned: Uint8Array[] = []
    model.onFrame((frame) => returned.push(frame))
    const frame = Uint8Array.from({ length: 100 }, (_, n) => n)
    const deadline = Date.now() + 20_000
    let delivered = 0
    while (returned.length < 200 && Date.now() < deadline) {
      if (delivered < 400 && model.deliver(frame) === 'delivered') delivered++
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect(returned.length).toBeGreaterThanOrEqual(200)
    expect([...(returned[0] ?? [])]).toEqual([...frame.subarray(6, 12), ...frame.subarray(0, 6), ...frame.subarray(12)])
    await driver.stop()
    expect(backEnd.sessions).toBe(1)
    // Habits of DPDK's: a header that was received is sent again as it is; rings are switched on that cannot be switched; a packed ring
    // is filled in before the device sees it.
    const habits = /num_buffers is 1, not 0|SET_VRING_ENABLE without bit 30|descriptor ring is not zeroed/
    expect(backEnd.violations.filter(({ text }) => !habits.test(text))).toEqual([])
  })
})
