import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Testpmd, vhostDevice } from '@virtio-ts/conformance/testpmd'
import type { Transport } from '@virtio-ts/core'
import { modelFunction, NetModel } from '@virtio-ts/device-models'
import { NetDriver } from '@virtio-ts/driver-net'
import { QemuBench, StreamPeer } from '@virtio-ts/qemu'
import { DeviceType } from '@virtio-ts/spec'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { VhostUserEndpoint } from '@virtio-ts/transport-vhost-user'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'
import { exchangeNotified, numbers } from '../support/numbered-traffic.ts'

const COUNT = 5000
const ringFeatures = ['RING_PACKED', 'EVENT_IDX', 'INDIRECT_DESC', 'IN_ORDER'] as const
type RingFeature = (typeof ringFeatures)[number]

/** Every subset of what a peer can have. */
function subsets(offered: readonly RingFeature[]): readonly (readonly RingFeature[])[] {
  return offered.reduce<readonly (readonly RingFeature[])[]>(
    (sets, feature) => [...sets, ...sets.map((set) => [...set, feature])],
    [[]],
  )
}

/** Frames with numbers to a peer that sends each back: all of them, once, whole, in order. */
function everyRing(offered: readonly RingFeature[], open: () => Promise<Transport>): void {
  it.each(subsets(offered).map((wanted) => [wanted.join(' ') || 'split, with nothing else', wanted] as const))(
    '%s',
    async (_name, wanted) => {
      const withoutFeatures = ringFeatures.filter((feature) => !wanted.includes(feature))
      const window = 100
      // Without the watchdog a notification that is missing is missed.
      await using driver = await NetDriver.open(await open(), { withoutFeatures, watchdog: 0 })
      expect(ringFeatures.filter((feature) => driver.features.has(feature))).toEqual(wanted)
      expect(await exchangeNotified(driver, { first: 0, count: COUNT, window })).toEqual(numbers(0, COUNT))
      expect(driver.stats()).toMatchObject({ rx_packets: COUNT, rx_dropped: 0, tx_dropped: 0 })
    },
  )
}

describe('every ring on the device model', () => {
  everyRing(ringFeatures, async () => {
    const model = new NetModel()
    // To the sender, as the model filters; and from the event loop, or its caller would call itself within `publish()`.
    model.onFrame((frame) => {
      const back = Uint8Array.of(...frame.subarray(6, 12), ...frame.subarray(0, 6), ...frame.subarray(12))
      setImmediate(() => model.deliver(back))
    })
    return VirtioPciDriver.attach(
      modelFunction(model, {
        ringFeatures: { RING_PACKED: true, EVENT_IDX: true, INDIRECT_DESC: true, IN_ORDER: true },
      }),
    )
  })
})

requirement('qemu')('every ring on QEMU', () => {
  let bench: QemuBench
  beforeAll(async () => {
    const peer = new StreamPeer('n0')
    peer.onFrame((frame) => void peer.send(frame))
    bench = await QemuBench.start({ devices: ['virtio-net-pci,netdev=n0,id=nic,packed=on'], netdevs: [peer] })
  })
  afterAll(() => bench?.close())

  everyRing(['RING_PACKED', 'EVENT_IDX', 'INDIRECT_DESC'], async () => VirtioPciDriver.attach(bench.function('nic')))
})

requirement('dpdk-testpmd')('every ring on testpmd', () => {
  let folder = ''
  let testpmd: Testpmd
  let endpoint: VhostUserEndpoint
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'virtio-ts-matrix-'))
    const path = join(folder, 'socket')
    testpmd = await Testpmd.launch({ devices: [vhostDevice({ path })] })
    await testpmd.start()
    endpoint = new VhostUserEndpoint({ path, deviceType: DeviceType.NETWORK })
  })
  afterAll(async () => {
    await endpoint?.close()
    await testpmd?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  everyRing(ringFeatures, () => endpoint.connect())
})
