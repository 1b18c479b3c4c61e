import { NetDriver } from '@virtio-ts/driver-net'
import { openFdCount } from '@virtio-ts/native'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

requirement('qemu')('opening and closing', () => {
  it('1,000 times on one QEMU: no descriptor, no byte of DMA memory and no quarantined byte is left behind', async () => {
    const bench = await QemuBench.start({ devices: ['virtio-net-pci,netdev=n0'], netdevs: ['user,id=n0'] })
    try {
      const fn = bench.function(0)
      const cycle = async (): Promise<void> => {
        const net = await NetDriver.open(await VirtioPciDriver.attach(fn))
        net.send(new Uint8Array(60).fill(0xff))
        await net.close()
      }
      // The first one may load code and make what lives as long as the bench.
      await cycle()
      const fds = openFdCount()
      const dma = { ...fn.dma.stats }
      for (let i = 0; i < 1000; i++) await cycle()
      expect(openFdCount()).toBe(fds)
      expect({ ...fn.dma.stats }).toEqual(dma)
      expect(dma).toMatchObject({ allocatedBytes: 0, allocatedRegions: 0, quarantinedBytes: 0 })
    } finally {
      await bench.close()
    }
  })

  it('a netdev taken away and given back: the link follows, traffic goes on', async () => {
    const bench = await QemuBench.start({ devices: ['virtio-net-pci,netdev=n0,id=nic0'], netdevs: ['user,id=n0'] })
    try {
      const net = await NetDriver.open(await VirtioPciDriver.attach(bench.function('nic0')))
      const down = new Promise((resolve) => net.on('link', ({ up }) => up || resolve(undefined)))
      await bench.qmp.netdevDel('n0')
      await down
      // With nobody behind the card frames go nowhere, and the driver carries on.
      for (let i = 0; i < 1000; i++) net.send(new Uint8Array(60))
      await net.drain()
      await net.close()
      expect(bench.function('nic0').dma.stats.allocatedBytes).toBe(0)
    } finally {
      await bench.close()
    }
  })
})
