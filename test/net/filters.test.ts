import { formatMac, NetDriver } from '@virtio-ts/driver-net'
import { QemuBench } from '@virtio-ts/qemu'
import { VirtioPciDriver } from '@virtio-ts/transport-pci'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { requirement } from '../requirements.ts'

const mac = (last: number, first = 0x52): Uint8Array => Uint8Array.of(first, 0x54, 0, 0, 0, last)

requirement('qemu')('receive filters, as QEMU reports them', () => {
  let bench: QemuBench
  let net: NetDriver

  beforeEach(async () => {
    bench = await QemuBench.start({ devices: ['virtio-net-pci,netdev=n0,id=nic0'], netdevs: ['user,id=n0'] })
    net = await NetDriver.open(await VirtioPciDriver.attach(bench.function('nic0')), { vlanFilter: true })
  })

  afterEach(async () => {
    await net.close()
    await bench.close()
  })

  const filter = (): ReturnType<typeof bench.qmp.queryRxFilter> => bench.qmp.queryRxFilter('nic0')

  it('§ 5.1.6.5.1 promiscuous on and off', async () => {
    await net.setReceiveMode({ promiscuous: true })
    expect((await filter()).promiscuous).toBe(true)
    await net.setReceiveMode({ promiscuous: false })
    expect((await filter()).promiscuous).toBe(false)
  })

  it('§ 5.1.6.5.1 all-multicast, no-multicast, all-unicast, no-unicast, no-broadcast', async () => {
    await net.setReceiveMode({ promiscuous: false, allMulticast: true })
    expect((await filter()).multicast).toBe('all')
    await net.setReceiveMode({ allMulticast: false, noMulticast: true })
    expect((await filter()).multicast).toBe('none')
    await net.setReceiveMode({ noMulticast: false, allUnicast: true })
    expect(await filter()).toMatchObject({ unicast: 'all', multicast: 'normal' })
    // QEMU fills "broadcast-allowed" with its `nobcast`: the field says the opposite of its name.
    expect(await filter()).toMatchObject({ 'broadcast-allowed': false })
    await net.setReceiveMode({ allUnicast: false, noUnicast: true, noBroadcast: true })
    expect(await filter()).toMatchObject({ unicast: 'none', 'broadcast-allowed': true })
  })

  it('§ 5.1.6.5.2 the MAC table, replaced as a whole', async () => {
    await net.setMacTable({ unicast: [mac(1), mac(2)], multicast: [mac(3, 0x01)] })
    const first = await filter()
    expect([...first['unicast-table']].sort()).toEqual(['52:54:00:00:00:01', '52:54:00:00:00:02'])
    expect(first['multicast-table']).toEqual(['01:54:00:00:00:03'])
    await net.setMacTable({ unicast: [], multicast: [] })
    expect(await filter()).toMatchObject({ 'unicast-table': [], 'multicast-table': [] })
  })

  it('a MAC table larger than the device keeps turns into an overflow, not into silence', async () => {
    await net.setMacTable({ unicast: Array.from({ length: 100 }, (_, i) => mac(i)), multicast: [] })
    expect(await filter()).toMatchObject({ 'unicast-overflow': true })
  })

  it('§ 5.1.6.5.3 VLANs added and removed', async () => {
    expect((await filter()).vlan).toBe('none')
    await net.addVlan(5)
    await net.addVlan(4094)
    expect([...(await filter())['vlan-table']].sort((a, b) => a - b)).toEqual([5, 4094])
    await net.removeVlan(5)
    expect((await filter())['vlan-table']).toEqual([4094])
  })

  it('§ 5.1.6.5.2 the MAC address itself', async () => {
    await net.setMac(mac(0x77))
    expect((await filter())['main-mac']).toBe('52:54:00:00:00:77')
    expect(formatMac(net.mac)).toBe('52:54:00:00:00:77')
  })

  it('refuses what cannot be before the device hears of it', async () => {
    await expect(net.setMac(mac(1, 0x01))).rejects.toThrow(RangeError)
    await expect(net.addVlan(4096)).rejects.toThrow(RangeError)
    expect((await filter())['main-mac']).toBe(formatMac(net.mac))
  })

  it('a masked feature answers with a coded error', async () => {
    await net.close()
    net = await NetDriver.open(await VirtioPciDriver.attach(bench.function('nic0')), { withoutFeatures: ['CTRL_RX'] })
    await expect(net.setReceiveMode({ promiscuous: true })).rejects.toMatchObject({ code: 'net.unsupported' })
  })
})
