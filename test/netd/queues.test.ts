import { afterEach, beforeEach, expect, it } from 'vitest'
import { ControlClient } from '../../apps/netd/src/control/control-client.ts'
import { requirement } from '../requirements.ts'
import { NetworkNamespace } from '../support/network-namespace.ts'
import { RunningNetd } from '../support/running-netd.ts'
import { TransferServer, transfer } from '../support/transfer.ts'

const near = '10.97.0.1'
const far = '10.97.0.2'

requirement(
  'root',
  'tun',
  'netns',
  'qemu',
  'curl',
)('netd run --queues on a PCI device, whose pairs all stay in one thread', () => {
  let driverSide: NetworkNamespace
  let deviceSide: NetworkNamespace

  beforeEach(() => {
    driverSide = NetworkNamespace.create()
    deviceSide = NetworkNamespace.create()
  })

  afterEach(() => {
    driverSide.close()
    deviceSide.close()
  })

  /** Twenty transfers, of which each chooses its queue by its port, and what passed on which pair. */
  async function transfers(netd: RunningNetd): Promise<Record<string, number>> {
    driverSide.run('ip', 'link', 'set', 'q0', 'netns', deviceSide.name)
    for (const [side, name, address] of [
      [driverSide, 't0', near],
      [deviceSide, 'q0', far],
    ] as const) {
      side.run('ip', 'addr', 'add', `${address}/24`, 'dev', name)
      side.run('ip', 'link', 'set', name, 'up')
    }
    const server = await TransferServer.start(deviceSide, 200_000, 5, far)
    for (let i = 0; i < 20; i++) {
      const { download, upload, sent } = await transfer(driverSide, `http://${far}:${server.port}/`)
      expect([download, upload]).toEqual([server.sha256, sent])
    }
    server.close()
    const client = await ControlClient.connect('t0', driverSide.runtimeDirectory)
    const stats = await client.stats()
    client.close()
    expect(await netd.stop()).toBe(0)
    return stats
  }

  it('both pairs carry frames', async () => {
    const netd = await RunningNetd.start(driverSide, [
      'qemu:virtio-net-pci,mq=on,vectors=6;netdev=tap,ifname=q0,queues=2',
      '--tap',
      't0',
      '--queues',
      '2',
    ])
    expect(netd.events[0]?.['features']).toContain('MQ')
    const stats = await transfers(netd)
    expect(stats).toMatchObject({ queue_pairs: 2 })
    expect(stats['pair0_from_tap_frames']).toBeGreaterThan(0)
    expect(stats['pair1_from_tap_frames']).toBeGreaterThan(0)
    expect(stats['tx_packets']).toBe((stats['from_tap_frames'] ?? 0) - (stats['from_tap_drops'] ?? 0))
  })

  it('a device with fewer pairs than asked for: it is said, and every frame takes those there are', async () => {
    const netd = await RunningNetd.start(driverSide, [
      'qemu:virtio-net-pci;netdev=tap,ifname=q0',
      '--tap',
      't0',
      '--queues',
      '4',
    ])
    const stats = await transfers(netd)
    expect(netd.stderr).toContain(
      '4 pairs of queues were asked for, the device does without several (no MQ): going on with 1',
    )
    expect(stats).toMatchObject({ queue_pairs: 1, pair1_from_tap_frames: 0, pair3_from_tap_frames: 0 })
  })
})
