import { Errno, openFdCount } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeMachine, msixConfig } from '../fake-machine.fixture.ts'
import type { PciFunction } from '../pci-function.ts'
import { openVfioOn, type VfioOptions } from '../vfio.ts'
import { FakeVfio } from './fake-vfio.fixture.ts'
import { VfioIrq } from './vfio-abi.ts'

const ADDRESS = '0000:00:04.0'
const MIB = 1024 * 1024

let machine: FakeMachine
let kernel: FakeVfio
let descriptors: number
const opened: PciFunction[] = []

beforeEach(() => {
  machine = new FakeMachine()
  kernel = new FakeVfio()
  descriptors = openFdCount()
})
afterEach(async () => {
  for (const fn of opened.splice(0)) await fn.close()
  machine.remove()
  expect([...kernel.openFds.values()]).toEqual([])
  expect(kernel.liveMappings).toBe(0)
  expect(kernel.mappings).toEqual([])
  expect(openFdCount()).toBe(descriptors)
})

function open(options: VfioOptions = {}): PciFunction {
  const fn = openVfioOn({ kernel, paths: machine.paths }, '00:04.0', { memory: 4 * MIB, ...options })
  opened.push(fn)
  return fn
}

function openBound(options: VfioOptions = {}): PciFunction {
  machine.add(ADDRESS, { driver: 'vfio-pci', group: '7' })
  return open(options)
}

const turn = (ms = 20): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('opening', () => {
  it('takes container, group, IOMMU and device in the order that VFIO asks for', () => {
    const fn = openBound({ onWarning: () => expect.fail('an IOMMU protects it') })
    expect(fn).toMatchObject({ address: ADDRESS, bus: 'vfio', gone: false, msixVectors: 4 })
    expect(kernel.log.slice(0, 9)).toEqual([
      'open /dev/vfio/vfio',
      'GET_API_VERSION 0',
      'open /dev/vfio/7',
      'GROUP_GET_STATUS',
      'GROUP_SET_CONTAINER',
      'CHECK_EXTENSION 3',
      'SET_IOMMU 3',
      'GROUP_GET_DEVICE_FD',
      'DEVICE_GET_INFO',
    ])
  })

  it('takes the older IOMMU driver where there is no other', () => {
    kernel.extensions = [1]
    openBound()
    expect(kernel.log).toContain('SET_IOMMU 1')
  })

  it('switches decoding on and bus master off', () => {
    const config = msixConfig(4)
    config[4] = 0x04
    kernel = new FakeVfio(config)
    const fn = openBound()
    expect(fn.configRead16(4)).toBe(0x0003)
  })

  it('gives everything back in the opposite order', async () => {
    const fn = openBound({ addressSpace: 'bus' })
    fn.bar(4)
    fn.setBusMaster(true)
    fn.enableMsix(2)
    kernel.log.length = 0
    await fn.close()
    await fn.close()
    expect(kernel.log).toEqual([
      'munmap region4+0',
      'write16 region7+4 3 0',
      'DEVICE_SET_IRQS flags 0x21 index 2 start 0 count 0',
      'close device',
      'IOMMU_UNMAP_DMA',
      'GROUP_UNSET_CONTAINER 0',
      'close /dev/vfio/7',
      'close /dev/vfio/vfio',
    ])
    expect(fn.configRead32(0)).toBe(0xffff_ffff)
    expect(() => fn.bar(4)).toThrow(expect.objectContaining({ code: 'pci.gone' }))
  })

  const steps = [
    'open /dev/vfio/vfio',
    'GET_API_VERSION',
    'open /dev/vfio/7',
    'GROUP_GET_STATUS',
    'GROUP_SET_CONTAINER',
    'CHECK_EXTENSION',
    'SET_IOMMU',
    'GROUP_GET_DEVICE_FD',
    'DEVICE_GET_INFO',
    'DEVICE_GET_REGION_INFO',
    'DEVICE_GET_IRQ_INFO',
    'DEVICE_SET_IRQS',
    'IOMMU_GET_INFO',
    'IOMMU_MAP_DMA',
  ]
  it.each(steps)('P9 leaves nothing behind when %s fails', (call) => {
    kernel.fail = { call, errno: Errno.EIO }
    expect(() => openBound({ addressSpace: 'bus' })).toThrow(/EIO|BAR|cannot|VFIO/)
    expect(kernel.log).toContainEqual(expect.stringMatching(`^${call}`))
  })

  it('goes on giving back when one of the steps fails, and says so', async () => {
    const fn = openBound({ addressSpace: 'bus' })
    kernel.fail = { call: 'GROUP_UNSET_CONTAINER', errno: Errno.EIO }
    await expect(fn.close()).rejects.toMatchObject({ code: 'EIO' })
    expect([...kernel.openFds.values()]).toEqual([])
  })
})

describe('what stands in the way', () => {
  const refused = (options: VfioOptions = {}): { code: string; message: string } => {
    try {
      open(options)
    } catch (error) {
      return error as { code: string; message: string }
    }
    throw new Error('it opened')
  }

  it('no such function', () => {
    expect(refused()).toMatchObject({ code: 'pci.not-found', message: expect.stringContaining('lspci') })
  })

  it('a kernel driver', () => {
    machine.add(ADDRESS, { driver: 'virtio-pci', group: '7' })
    const error = refused()
    expect(error.code).toBe('pci.not-bound')
    for (const part of ['virtio-pci', 'driver_override', 'unbind', 'drivers_probe'])
      expect(error.message).toContain(part)
  })

  it('no driver at all', () => {
    machine.add(ADDRESS, { group: '7' })
    const error = refused()
    expect(error.code).toBe('pci.not-bound')
    expect(error.message).not.toContain('/unbind')
  })

  it('takes a VFIO driver made for one kind of device', () => {
    machine.add(ADDRESS, { driver: 'virtio_vfio_pci', group: '7' })
    expect(open().bus).toBe('vfio')
  })

  it('no IOMMU', () => {
    machine.add(ADDRESS, { driver: 'vfio-pci' })
    expect(refused()).toMatchObject({ code: 'pci.no-iommu-group', message: expect.stringContaining('intel_iommu=on') })
  })

  it.each([undefined, 'virtio-pci'])('no IOMMU, where binding %s to vfio-pci would fail', (driver) => {
    machine.add(ADDRESS, driver === undefined ? {} : { driver })
    expect(refused()).toMatchObject({ code: 'pci.no-iommu-group' })
    machine.allowNoIommu()
    expect(refused()).toMatchObject({ code: 'pci.not-bound' })
  })

  it('a group that others are in: names them and their drivers', () => {
    machine.add(ADDRESS, { driver: 'vfio-pci', group: '7' })
    machine.add('0000:00:04.1', { driver: 'e1000e', group: '7' })
    machine.add('0000:00:04.2', { group: '7' })
    machine.add('0000:00:04.3', { driver: 'vfio-pci', group: '7' })
    kernel.groupFlags = 0
    const error = refused()
    expect(error.code).toBe('pci.group-not-viable')
    expect(error.message).toContain(': 0000:00:04.1 (e1000e). ')
  })

  it.each([
    [Errno.EACCES, 'open /dev/vfio/7', 'pci.permission', 'chown'],
    [Errno.EBUSY, 'open /dev/vfio/7', 'pci.in-use', 'fuser -v'],
    [Errno.ENOENT, 'open /dev/vfio/7', 'pci.no-vfio', 'modprobe vfio-pci'],
    [Errno.ENOENT, 'open /dev/vfio/vfio', 'pci.no-vfio', 'modprobe vfio-pci'],
    [Errno.EACCES, 'open /dev/vfio/vfio', 'pci.permission', '/dev/vfio/vfio'],
  ])('error %i of %s is %s', (errno, call, code, words) => {
    machine.add(ADDRESS, { driver: 'vfio-pci', group: '7' })
    kernel.fail = { call, errno }
    expect(refused()).toMatchObject({ code, message: expect.stringContaining(words) })
  })

  it('an IOMMU of a kind that VFIO has no driver for', () => {
    machine.add(ADDRESS, { driver: 'vfio-pci', group: '7' })
    kernel.extensions = []
    expect(refused()).toMatchObject({ code: 'pci.no-vfio', message: expect.stringContaining('vfio_iommu_type1') })
  })

  it('memory that may not be locked: says how much may', () => {
    machine.add(ADDRESS, { driver: 'vfio-pci', group: '7' })
    kernel.fail = { call: 'IOMMU_MAP_DMA', errno: Errno.ENOMEM }
    const error = refused({ addressSpace: 'bus' })
    expect(error.code).toBe('pci.memory-locked')
    expect(error.message).toContain('8388608 bytes in all')
    expect(error.message).toContain('ulimit -l 5120')
  })

  it('another refusal of the IOMMU', () => {
    machine.add(ADDRESS, { driver: 'vfio-pci', group: '7' })
    kernel.fail = { call: 'IOMMU_MAP_DMA', errno: Errno.EEXIST }
    expect(refused({ addressSpace: 'bus' })).toMatchObject({ code: 'pci.dma-map' })
  })

  it('device addresses that are reserved', () => {
    machine.add(ADDRESS, { driver: 'vfio-pci', group: '7' })
    const error = refused({ addressSpace: 'bus', iova: 0xfee0_0000 })
    expect(error).toMatchObject({ code: 'pci.iova-reserved', message: expect.stringContaining('0x0-0xfedfffff') })
  })
})

describe('without an IOMMU', () => {
  it("opens the group's other file, and has no IOMMU", () => {
    machine.add(ADDRESS, { driver: 'vfio-pci', group: '0', noIommu: true })
    kernel.extensions = [8]
    const warnings: string[] = []
    open({ onWarning: (message) => warnings.push(message) })
    expect(warnings).toEqual([expect.stringContaining('without an IOMMU')])
    expect(kernel.log).toContain('open /dev/vfio/noiommu-0')
    expect(kernel.log).toContain('SET_IOMMU 8')
  })

  it('says who may open it', () => {
    machine.add(ADDRESS, { driver: 'vfio-pci', group: '0', noIommu: true })
    kernel.fail = { call: 'open /dev/vfio/noiommu-0', errno: Errno.EPERM }
    expect(() => open()).toThrow(expect.objectContaining({ message: expect.stringContaining('CAP_SYS_RAWIO') }))
  })
})

describe('memory', () => {
  it('is there once it is known which addresses the device takes', () => {
    const fn = openBound()
    expect(() => fn.dma).toThrow(expect.objectContaining({ code: 'pci.address-space' }))
    fn.setAddressSpace?.('bus')
    fn.setAddressSpace?.('bus')
    expect(kernel.mappings).toMatchObject([{ iova: 0x20_0000, size: 4 * MIB }])
    const region = fn.dma.allocate(4096, 4096)
    expect(region.deviceAddress).toBe(0x20_0000)
    fn.dma.free(region)
  })

  it('is refused to a device that takes the other kind of address', () => {
    const fn = openBound({ addressSpace: 'bus' })
    expect(() => fn.setAddressSpace?.('physical')).toThrow(
      expect.objectContaining({ code: 'pci.address-space', message: expect.stringContaining('ACCESS_PLATFORM') }),
    )
  })

  it('stays until the last region is back, and nothing is handed out after closing', async () => {
    const fn = openBound({ addressSpace: 'bus' })
    const { dma } = fn
    const region = dma.allocate(64)
    await fn.close()
    expect(kernel.mappings).toEqual([])
    expect(openFdCount()).toBe(descriptors + 1)
    region.bytes.fill(1)
    expect(() => dma.allocate(1)).toThrow(expect.objectContaining({ code: 'memory.unavailable' }))
    dma.free(region)
    expect(openFdCount()).toBe(descriptors)
  })
})

describe('being taken away', () => {
  it('L1 lets everything go at once, stops the device first, and says why', async () => {
    const fn = openBound({ addressSpace: 'bus' })
    fn.setBusMaster(true)
    fn.bar(4)
    const region = fn.dma.allocate(64)
    const reasons: unknown[] = []
    fn.onGone((reason) => reasons.push(reason))
    fn.onGone((reason) => reasons.push(reason))()
    kernel.log.length = 0
    kernel.fire(VfioIrq.REQUEST)
    for (let i = 0; i < 100 && reasons.length === 0; i++) await turn(5)
    expect(reasons).toEqual([
      expect.objectContaining({ code: 'pci.gone', message: expect.stringContaining('unplugged') }),
    ])
    expect(fn.gone).toBe(true)
    expect([...kernel.openFds.values()]).toEqual([])
    expect(kernel.log.indexOf('write16 region7+4 3 0')).toBeLessThan(kernel.log.indexOf('close device'))
    expect(fn.configRead32(0)).toBe(0xffff_ffff)
    fn.configWrite8(0, 1)
    fn.dma.free(region)
    expect(() => fn.enableMsix(1)).toThrow(expect.objectContaining({ code: 'pci.gone' }))
    fn.onGone((reason) => reasons.push(reason))
    expect(reasons).toHaveLength(2)
  })

  it('takes an uncorrectable error for the end too', async () => {
    kernel.irqs.set(VfioIrq.ERROR, 1)
    const fn = openBound()
    const reasons: Error[] = []
    fn.onGone((reason) => reasons.push(reason))
    kernel.fire(VfioIrq.ERROR)
    for (let i = 0; i < 100 && reasons.length === 0; i++) await turn(5)
    expect(reasons[0]?.message).toContain('AER')
  })

  it.each(['read', 'write'])('C6 notices it at a %s that finds nobody', async (call) => {
    const fn = openBound()
    const gone = new Promise((resolve) => fn.onGone(resolve))
    kernel.fail = { call, errno: Errno.ENODEV }
    if (call === 'read') expect(fn.configRead16(0)).toBe(0xffff)
    else fn.configWrite8(0x3c, 1)
    kernel.fail = undefined
    await gone
    expect([...kernel.openFds.values()]).toEqual([])
  })
})

describe('reset', () => {
  it("is the function's own, with interrupts and bus master off afterwards", async () => {
    const fn = openBound()
    fn.setBusMaster(true)
    fn.enableMsix(1)
    kernel.log.length = 0
    await fn.reset()
    expect(kernel.log).toEqual([
      'DEVICE_SET_IRQS flags 0x21 index 2 start 0 count 0',
      'DEVICE_RESET 0',
      'write16 region7+4 3 0',
    ])
  })

  it('is refused where there is none', async () => {
    kernel.deviceFlags = 2
    const fn = openBound()
    await expect(fn.reset()).rejects.toMatchObject({ code: 'pci.no-reset' })
    expect(kernel.log).not.toContain('DEVICE_RESET 0')
  })
})
