import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { configSpace, FakeSystem } from './fake-system.fixture.ts'
import { scanDevices } from './scan-devices.ts'

const routeHeader = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n'

function route(name: string, destination = '00000000', mask = '00000000', flags = '0003'): string {
  return `${name}\t${destination}\t010200C0\t${flags}\t0\t0\t0\t${mask}\t0\t0\t0   \n`
}

function route6(name: string, prefix = '00', flags = '00000003'): string {
  const zeros = '0'.repeat(32)
  return `${zeros} ${prefix} ${zeros} 00 fd000000000000000000000000000001 00000400 00000002 00000000 ${flags}     ${name}\n`
}

let system: FakeSystem
beforeEach(() => {
  system = new FakeSystem()
})
afterEach(() => {
  system[Symbol.dispose]()
})

describe('scanDevices', () => {
  it('finds virtio functions and nothing else, by address', () => {
    system.add('0000:00:03.0', { device: '0x1041' })
    system.add('0000:00:02.0', { device: '0x1042' })
    system.add('0000:00:01.0', { vendor: '0x8086', device: '0x1041' })
    system.add('0000:00:00.0', { device: '0x0fff' })
    system.add('0000:00:05.0', { device: '0x1080' })
    system.add('0000:00:06.0', { device: 'garbage' })
    expect(scanDevices(system.roots).map(({ address, label }) => `${address} ${label}`)).toEqual([
      '0000:00:02.0 virtio-blk',
      '0000:00:03.0 virtio-net',
    ])
  })

  it('finds nothing where there is no PCI bus', () => {
    expect(scanDevices(system.roots)).toEqual([])
  })

  it.each([
    ['0x1041', undefined, 1, 'virtio-net'],
    ['0x1043', undefined, 3, 'virtio-console'],
    ['0x1000', '0x0001', 1, 'virtio-net'],
    ['0x1001', undefined, 2, 'virtio-blk'],
    ['0x1002', '0x9999', 5, 'virtio-balloon'],
    ['0x1009', undefined, 9, 'virtio-9p'],
    ['0x1007', '0x0012', 18, 'virtio-input'],
    ['0x107f', undefined, 63, 'virtio device type 63'],
  ])('§ 4.1.2.1 knows the type of device %s, subsystem %s', (device, subsystem, type, label) => {
    system.add('0000:00:01.0', { device, ...(subsystem ? { subsystem } : {}) })
    expect(scanDevices(system.roots)).toMatchObject([{ type, label }])
  })

  it.each([
    ['0x1041', undefined, 'modern'],
    [
      '0x1000',
      configSpace([
        [0x11, 0x40],
        [0x09, 0x70],
      ]),
      'transitional',
    ],
    ['0x1000', configSpace([[0x11, 0x40]]), 'legacy'],
    ['0x1000', configSpace([]), 'legacy'],
    [
      '0x1000',
      configSpace(
        [
          [0x11, 0x40],
          [0x09, 0x70],
        ],
        64,
      ),
      'transitional-or-legacy',
    ],
    ['0x1000', undefined, 'transitional-or-legacy'],
    [
      '0x1000',
      configSpace([
        [0x11, 0x40],
        [0x12, 0x50],
        [0x11, 0x40],
      ]),
      'legacy',
    ],
  ] as const)('tells the generation of device %s', (device, config, generation) => {
    system.add('0000:00:01.0', { device, ...(config ? { config } : {}) })
    expect(scanDevices(system.roots)).toMatchObject([{ generation }])
  })

  it('sees a default route, by either protocol, and through what is stacked on an interface', () => {
    system.add('0000:00:01.0', { device: '0x1041', driver: 'virtio-pci', interfaces: ['eth0'] })
    system.add('0000:00:02.0', { device: '0x1041', driver: 'virtio-pci', interfaces: ['eth1'] })
    system.add('0000:00:03.0', { device: '0x1041', driver: 'virtio-pci', interfaces: ['eth2'] })
    system.add('0000:00:04.0', { device: '0x1041', driver: 'virtio-pci', interfaces: ['eth3'] })
    system.file('sys/class/net/eth2/upper_bond0/x', '')
    system.link('sys/class/net/bond0/master', '../br0')
    system.link('sys/class/net/br0/master', '../bond0')
    system.file(
      'proc/net/route',
      routeHeader +
        route('eth0') +
        route('br0') +
        route('eth3', '000200C0', '00FFFFFF') +
        route('eth3', undefined, undefined, '0000'),
    )
    system.file('proc/net/ipv6_route', route6('eth1') + route6('lo', '00', '00200200') + route6('eth3', '40'))
    const found = scanDevices(system.roots).flatMap(({ interfaces }) => interfaces)
    expect(found.map(({ name, defaultRoute }) => [name, defaultRoute])).toEqual([
      ['eth0', true],
      ['eth1', true],
      ['eth2', true],
      ['eth3', false],
    ])
  })

  it('says what netd would need: another way in, another driver, an IOMMU, the rest of the group', () => {
    system.add('0000:00:01.0', { device: '0x1041', driver: 'virtio-pci', interfaces: ['eth0'] })
    system.add('0000:00:02.0', { device: '0x1041', driver: 'vfio-pci', group: 7 })
    system.add('0000:00:03.0', { vendor: '0x8086', device: '0x0001', group: 7, driver: 'e1000e' })
    system.add('0000:00:03.1', { vendor: '0x8086', device: '0x0001', group: 7, driver: 'pcieport' })
    system.add('0000:00:03.2', { vendor: '0x8086', device: '0x0001', group: 7 })
    system.add('0000:00:04.0', { device: '0x1042' })
    system.file('proc/net/route', routeHeader + route('eth0'))
    const [routed, grouped, disk] = scanDevices(system.roots)
    expect(routed).toMatchObject({ driver: 'virtio-pci', iommuGroup: null, groupMembers: [] })
    expect(routed?.needs).toEqual([
      '--force: a default route of this machine goes over eth0',
      'its driver changed from virtio-pci to vfio-pci: sudo netd bind 0000:00:01.0 --force',
      'an IOMMU, or sysfs: with hugepages',
    ])
    expect(grouped).toMatchObject({ driver: 'vfio-pci', iommuGroup: 7 })
    expect(grouped?.groupMembers).toEqual([
      { address: '0000:00:03.0', driver: 'e1000e' },
      { address: '0000:00:03.1', driver: 'pcieport' },
      { address: '0000:00:03.2', driver: null },
    ])
    expect(grouped?.needs).toEqual(['the rest of IOMMU group 7 taken from the kernel too: 0000:00:03.0 (e1000e)'])
    expect(disk?.needs).toEqual([])
  })
})
