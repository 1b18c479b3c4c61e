import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { memoryIo } from '@virtio-ts/command-line/memory-io'
import { FakeSystem } from '../devices/fake-system.fixture.ts'
import { devices } from './devices.ts'

let system: FakeSystem
beforeEach(() => {
  system = new FakeSystem()
})
afterEach(() => {
  system[Symbol.dispose]()
})

describe('netd devices', () => {
  it('prints one paragraph a function', async () => {
    system.add('0000:00:02.0', { device: '0x1042', revision: '0x01', driver: 'virtio-pci', group: 3 })
    system.add('0000:00:03.0', { device: '0x1041', revision: '0x01', driver: 'virtio-pci', interfaces: ['eth\u001b0'] })
    const { io, stdout } = memoryIo()
    expect(await devices({ json: false }, io, system.roots)).toBe(0)
    expect(stdout()).toBe(
      [
        '0000:00:02.0  1af4:1042 (rev 1)  virtio-blk (modern)',
        '  driver in use: virtio-pci',
        '  IOMMU group: 3',
        '',
        '0000:00:03.0  1af4:1041 (rev 1)  virtio-net (modern)',
        '  driver in use: virtio-pci',
        '  IOMMU group: none',
        '  interface: eth?0',
        '  netd would need: eth?0 taken down: the kernel uses it',
        '              and: its driver changed from virtio-pci to vfio-pci',
        '              and: an IOMMU, or sysfs: with hugepages',
        '              and: a later netd: this version opens no PCI function of this machine',
        '',
      ].join('\n'),
    )
  })

  it('prints JSON with every field there', async () => {
    system.add('0000:00:03.0', { device: '0x1041' })
    const { io, stdout } = memoryIo()
    await devices({ json: true }, io, system.roots)
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
        needs: [
          'a binding to vfio-pci',
          'an IOMMU, or sysfs: with hugepages',
          'a later netd: this version opens no PCI function of this machine',
        ],
      },
    ])
  })

  it('says so when there is none', async () => {
    const { io, stdout, stderr } = memoryIo()
    expect(await devices({ json: false }, io, system.roots)).toBe(0)
    expect([stdout(), stderr()]).toEqual(['', 'netd: no virtio PCI function on this machine\n'])
    const json = memoryIo()
    await devices({ json: true }, json.io, system.roots)
    expect([json.stdout(), json.stderr()]).toEqual(['[]\n', ''])
  })
})
