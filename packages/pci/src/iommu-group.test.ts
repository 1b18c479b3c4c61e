import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeKernel } from './fake-kernel.fixture.ts'
import { iommuGroup, iommuGroupBlockers } from './iommu-group.ts'

let kernel: FakeKernel
beforeEach(() => {
  kernel = new FakeKernel(['virtio-pci', 'vfio-pci', 'pcieport', 'e1000e'])
})
afterEach(() => kernel[Symbol.dispose]())

describe('iommuGroup', () => {
  it('tells who else is in it, and which of them stand in the way', () => {
    kernel.add('0000:00:01.0', { driver: 'virtio-pci', group: 7 })
    kernel.add('0000:00:01.1', { driver: 'e1000e', group: 7 })
    kernel.add('0000:00:01.2', { driver: 'vfio-pci', group: 7 })
    kernel.add('0000:00:01.3', { driver: 'pcieport', group: 7 })
    kernel.add('0000:00:01.4', { group: 7 })
    kernel.add('0000:00:01.5', { driver: 'virtio-vfio-pci', group: 7 })
    kernel.add('0000:00:02.0', { driver: 'e1000e', group: 8 })
    const group = iommuGroup('00:01.0', kernel.sysfs)
    expect(group).toEqual({
      number: 7,
      others: [
        { address: '0000:00:01.1', driver: 'e1000e' },
        { address: '0000:00:01.2', driver: 'vfio-pci' },
        { address: '0000:00:01.3', driver: 'pcieport' },
        { address: '0000:00:01.4', driver: undefined },
        { address: '0000:00:01.5', driver: 'virtio-vfio-pci' },
      ],
    })
    expect(group && iommuGroupBlockers(group)).toEqual([{ address: '0000:00:01.1', driver: 'e1000e' }])
  })

  it('is undefined without an IOMMU', () => {
    kernel.add('0000:00:01.0', { driver: 'virtio-pci' })
    expect(iommuGroup('0000:00:01.0', kernel.sysfs)).toBeUndefined()
    expect(iommuGroup('0000:00:09.0', kernel.sysfs)).toBeUndefined()
  })
})
