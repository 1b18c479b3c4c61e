import { join } from 'node:path'
import { memoryIo } from '@virtio-ts/command-line/memory-io'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { DevicesSource } from '../devices/describe-devices.ts'
import { FakeSystem } from '../devices/fake-system.fixture.ts'
import { FakeNetwork } from '../takeover/fake-network.fixture.ts'
import { Journal } from '../takeover/journal.ts'
import { devices } from './devices.ts'

let system: FakeSystem
let network: FakeNetwork
let source: DevicesSource
beforeEach(() => {
  system = new FakeSystem()
  network = new FakeNetwork()
  source = { roots: system.roots, ip: network.ip, journal: new Journal(join(system.root, 'virtio-ts/taken')) }
})
afterEach(() => {
  system[Symbol.dispose]()
})

describe('netd devices', () => {
  it('prints one paragraph a function', async () => {
    system.add('0000:00:02.0', { device: '0x1042', revision: '0x01', driver: 'virtio-pci', group: 3 })
    system.add('0000:00:03.0', { device: '0x1041', revision: '0x01', driver: 'virtio-pci', interfaces: ['eth\u001b0'] })
    network.appear('eth\u001b0', '52:54:00:12:34:56')
    const { io, stdout } = memoryIo()
    expect(await devices({ json: false }, io, source)).toBe(0)
    expect(stdout()).toBe(
      [
        '0000:00:02.0  1af4:1042 (rev 1)  virtio-blk (modern)',
        '  driver in use: virtio-pci',
        '  IOMMU group: 3',
        '',
        '0000:00:03.0  1af4:1041 (rev 1)  virtio-net (modern)',
        '  driver in use: virtio-pci',
        '  IOMMU group: none',
        '  interface: eth?0 52:54:00:12:34:56 MTU 1500',
        '  netd would need: its driver changed from virtio-pci to vfio-pci: sudo netd bind 0000:00:03.0',
        '              and: an IOMMU, or sysfs: with hugepages',
        '',
      ].join('\n'),
    )
  })

  it('prints JSON with every field there', async () => {
    system.add('0000:00:03.0', { device: '0x1041' })
    const { io, stdout } = memoryIo()
    await devices({ json: true }, io, source)
    expect(JSON.parse(stdout())).toEqual([
      {
        address: '0000:00:03.0',
        vendor: 0x1af4,
        device: 0x1041,
        revision: 0,
        type: 1,
        label: 'virtio-net',
        generation: 'modern',
        driver: null,
        iommuGroup: null,
        groupMembers: [],
        interfaces: [],
        taken: null,
        needs: ['a binding to vfio-pci: sudo netd bind 0000:00:03.0', 'an IOMMU, or sysfs: with hugepages'],
      },
    ])
  })

  it('tells addresses and routes, who else is in the group, and what was taken', async () => {
    system.add('0000:00:03.0', { device: '0x1041', driver: 'virtio-pci', group: 3, interfaces: ['eth0'] })
    system.add('0000:00:04.0', { device: '0x1041', driver: 'vfio-pci', group: 3 })
    network.appear('eth0', '52:54:00:12:34:56')
    const forever = { valid_life_time: 0xffff_ffff, preferred_life_time: 0xffff_ffff }
    network.interfaces
      .get('eth0')
      ?.addr_info.push({ family: 'inet', local: '10.0.2.15', prefixlen: 24, scope: 'global', ...forever })
    network.routes.push(
      { family: 'inet', dst: 'default', gateway: '10.0.2.2', dev: 'eth0', protocol: 'dhcp', scope: 'global' },
      { family: 'inet', dst: '10.0.2.0/24', dev: 'eth0', protocol: 'kernel', scope: 'link' },
    )
    source.journal.prepare()
    source.journal.write({
      version: 1,
      address: '0000:00:04.0',
      time: 0,
      driver: 'virtio-pci',
      override: null,
      boundTo: 'vfio-pci',
      by: 'bind',
      interfaces: [
        { name: 'eth1', mac: '52:54:00:12:34:57', mtu: 1500, up: true, master: null, addresses: [], routes: [] },
      ],
    })
    const { io, stdout } = memoryIo()
    await devices({ json: false }, io, source)
    expect(stdout()).toContain(
      [
        '  IOMMU group: 3, with 0000:00:04.0 (vfio-pci)',
        '  interface: eth0 52:54:00:12:34:56 MTU 1500',
        '    address: 10.0.2.15/24',
        '    route: default via 10.0.2.2',
        '  netd would need:',
      ].join('\n'),
    )
    expect(stdout()).toContain(
      [
        '  driver in use: vfio-pci',
        '  taken: from virtio-pci, where it was eth1; netd release gives it back',
        '  IOMMU group: 3, with 0000:00:03.0 (virtio-pci)',
      ].join('\n'),
    )
  })

  it('says so when there is none', async () => {
    const { io, stdout, stderr } = memoryIo()
    expect(await devices({ json: false }, io, source)).toBe(0)
    expect([stdout(), stderr()]).toEqual(['', 'netd: no virtio PCI function on this machine\n'])
    const json = memoryIo()
    await devices({ json: true }, json.io, source)
    expect([json.stdout(), json.stderr()]).toEqual(['[]\n', ''])
  })
})
