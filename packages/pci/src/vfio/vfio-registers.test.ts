import { Errno } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeMachine, msixConfig } from '../fake-machine.fixture.ts'
import type { PciFunction } from '../pci-function.ts'
import { openVfioOn } from '../vfio.ts'
import { FakeVfio } from './fake-vfio.fixture.ts'
import { VfioIrq } from './vfio-abi.ts'

let machine: FakeMachine
let kernel: FakeVfio
const opened: PciFunction[] = []

beforeEach(() => {
  machine = new FakeMachine()
  machine.add('0000:00:04.0', { driver: 'vfio-pci', group: '7' })
  kernel = new FakeVfio()
})
afterEach(async () => {
  for (const fn of opened.splice(0)) await fn.close()
  machine.remove()
})

function open(): PciFunction {
  const fn = openVfioOn({ kernel, paths: machine.paths }, '0000:00:04.0', {})
  opened.push(fn)
  kernel.log.length = 0
  return fn
}

const turn = (ms = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('base address registers', () => {
  it("maps one that can be mapped, once, and writes with the register's width", () => {
    const fn = open()
    const bar = fn.bar(4)
    expect(fn.bar(4)).toBe(bar)
    expect(bar).toMatchObject({ index: 4, kind: 'memory', length: 0x4000 })
    bar.write32(8, 0x1234_5678)
    bar.write16(12, 0xabcd)
    bar.write8(14, 0xef)
    bar.notify(0x3000, 2, 16)
    bar.notify(0x3004, 0x1_0002, 32)
    expect([...(kernel.contents.get(4) as Uint8Array).subarray(8, 15)]).toEqual([
      0x78, 0x56, 0x34, 0x12, 0xcd, 0xab, 0xef,
    ])
    expect([bar.read32(8), bar.read16(12), bar.read8(14)]).toEqual([0x1234_5678, 0xabcd, 0xef])
    expect([bar.read16(0x3000), bar.read32(0x3004)]).toEqual([2, 0x1_0002])
    expect(kernel.log.filter((line) => !line.startsWith('DEVICE_GET'))).toEqual(['mmap region4+0 16384'])
  })

  it('reads and writes I/O ports through the file, one access each', () => {
    const bar = open().bar(0)
    expect(bar).toMatchObject({ kind: 'io', length: 32 })
    kernel.log.length = 0
    bar.write32(4, 0x8000_0001)
    bar.write16(14, 0x1234)
    bar.write8(18, 3)
    bar.notify(16, 1, 16)
    bar.notify(20, 0x1_0001, 32)
    expect([bar.read32(4), bar.read16(14), bar.read8(18)]).toEqual([0x8000_0001, 0x1234, 3])
    expect(kernel.log).toEqual([
      'write32 region0+4 1 0 0 128',
      'write16 region0+14 52 18',
      'write8 region0+18 3',
      'write16 region0+16 1 0',
      'write32 region0+20 1 0 1 0',
      'read32 region0+4',
      'read16 region0+14',
      'read8 region0+18',
    ])
  })

  it('leaves the page of the MSI-X table to the kernel', () => {
    kernel = new FakeVfio(msixConfig(4, 0x1000))
    kernel.regions.set(1, { size: 0x4000, flags: 0xf, msixMappable: true })
    kernel.contents.set(1, new Uint8Array(0x4000))
    const bar = open().bar(1)
    expect(kernel.log.filter((line) => line.startsWith('mmap'))).toEqual([
      'mmap region1+0 4096',
      'mmap region1+8192 8192',
    ])
    kernel.log.length = 0
    bar.write32(0xffc, 1)
    bar.write32(0x1000, 2)
    bar.write16(0x1ffe, 3)
    bar.write8(0x2000, 4)
    bar.write32(0x3ffc, 5)
    expect(kernel.log).toEqual(['write32 region1+4096 2 0 0 0', 'write16 region1+8190 3 0'])
    const at = (offset: number): number => (kernel.contents.get(1) as Uint8Array)[offset] as number
    expect([at(0xffc), at(0x1000), at(0x1ffe), at(0x2000), at(0x3ffc)]).toEqual([1, 2, 3, 4, 5])
    expect([bar.read32(0xffc), bar.read32(0x1000), bar.read16(0x1ffe), bar.read8(0x2000)]).toEqual([1, 2, 3, 4])
  })

  it('maps only the stretches that older kernels name', () => {
    kernel.regions.set(4, { size: 0x4000, flags: 0xf, sparse: [[0x2000, 0x2000]] })
    open().bar(4)
    expect(kernel.log).toContain('mmap region4+8192 8192')
    expect(kernel.log.filter((line) => line.startsWith('mmap'))).toHaveLength(1)
  })

  it('maps nothing of one that cannot be mapped', () => {
    kernel.regions.set(4, { size: 0x4000, flags: 3 })
    const bar = open().bar(4)
    bar.write8(0, 9)
    expect(kernel.log).toContain('write8 region4+0 9')
  })

  it.each([2, 6, -1, 1.5])('has no BAR %d', (index) => {
    expect(() => open().bar(index)).toThrow(expect.objectContaining({ code: 'pci.no-bar' }))
  })

  it.each([
    [4, 'read32', 0x4000],
    [4, 'read32', 0x3ffe],
    [4, 'read16', 1],
    [4, 'read8', -1],
    [4, 'read8', 0.5],
    [4, 'read8', Number.NaN],
    [4, 'write8', 0x4000],
    [4, 'write16', 0x3fff],
    [4, 'write32', 0x3ffd],
    [0, 'read16', 31],
    [0, 'write32', 30],
  ] as const)('refuses BAR %i %s at %d', (index, method, offset) => {
    const bar = open().bar(index)
    const before = kernel.contents.get(index)?.slice()
    expect(() => bar[method](offset, 1)).toThrow(expect.objectContaining({ code: 'pci.bar-bounds' }))
    expect(kernel.contents.get(index)).toEqual(before)
  })

  it.each([
    [
      'memory decoding is off',
      (fn: PciFunction) => fn.configWrite16(4, 1),
      (fn: PciFunction) => fn.configWrite16(4, 3),
    ],
    [
      'the function is in a low-power state',
      (fn: PciFunction) => fn.configWrite16(0x50, 3),
      (fn: PciFunction) => fn.configWrite16(0x50, 0),
    ],
  ])('does not touch mapped registers while %s: the kernel would end the process', (_, off, on) => {
    const fn = open()
    const bar = fn.bar(4)
    bar.write32(0, 7)
    off(fn)
    bar.write32(0, 8)
    expect([bar.read32(0), bar.read16(0), bar.read8(0)]).toEqual([0xffff_ffff, 0xffff, 0xff])
    on(fn)
    expect(bar.read32(0)).toBe(7)
  })

  it('C6 reads all-ones through the file when the kernel refuses', () => {
    const fn = open()
    const bar = fn.bar(0)
    kernel.fail = { call: 'read', errno: Errno.EIO }
    expect([bar.read32(0), bar.read16(0), bar.read8(0)]).toEqual([0xffff_ffff, 0xffff, 0xff])
    expect(fn.gone).toBe(false)
    kernel.fail = undefined
  })
})

describe('interrupts', () => {
  it('MSI-X: one eventfd a vector, in one call', async () => {
    const fn = open()
    const vectors = fn.enableMsix(3)
    expect(vectors).toHaveLength(3)
    expect(kernel.log).toEqual(['DEVICE_SET_IRQS flags 0x24 index 2 start 0 count 3 fds 3'])
    expect(kernel.signals.get(VfioIrq.MSIX)).toEqual(vectors.map(({ fd }) => fd))
    let fired = 0
    const stop = vectors[1]?.watch(() => fired++)
    kernel.fire(VfioIrq.MSIX, 1)
    for (let i = 0; i < 100 && fired === 0; i++) await turn()
    expect(fired).toBe(1)
    stop?.()
    kernel.fire(VfioIrq.MSIX, 2)
    expect(vectors[2]?.drain()).toBe(true)
    expect(vectors[0]?.drain()).toBe(false)
    kernel.log.length = 0
    fn.disableMsix()
    fn.disableMsix()
    expect(kernel.log).toEqual(['DEVICE_SET_IRQS flags 0x21 index 2 start 0 count 0'])
  })

  it.each([0, 5, 1.5])('refuses %d of 4 vectors', (count) => {
    expect(() => open().enableMsix(count)).toThrow(expect.objectContaining({ code: 'pci.msix-unavailable' }))
  })

  it('says so when the machine has fewer vectors left', () => {
    const fn = open()
    kernel.msixAnswer = 2
    expect(() => fn.enableMsix(3)).toThrow(
      expect.objectContaining({ code: 'pci.msix-unavailable', message: expect.stringContaining('room for 2') }),
    )
    kernel.msixAnswer = 0
    kernel.fail = { call: 'DEVICE_SET_IRQS', errno: Errno.ENOSPC }
    expect(() => fn.enableMsix(3)).toThrow(expect.objectContaining({ code: 'pci.msix-unavailable' }))
    kernel.fail = undefined
  })

  it('INTx: unmasked after it was served, not before', async () => {
    const fn = open()
    const line = fn.intx()
    expect(fn.intx()).toBe(line)
    expect(kernel.log).toEqual(['DEVICE_SET_IRQS flags 0x24 index 0 start 0 count 1 fds 1'])
    kernel.log.length = 0
    const stop = line?.watch(() => kernel.log.push('served'))
    kernel.fire(VfioIrq.INTX)
    const unmask = 'DEVICE_SET_IRQS flags 0x11 index 0 start 0 count 1'
    for (let i = 0; i < 100 && !kernel.log.includes(unmask); i++) await turn()
    expect(kernel.log).toEqual(['served', unmask])
    stop?.()
    kernel.log.length = 0
    expect(line?.drain()).toBe(false)
    kernel.fire(VfioIrq.INTX)
    expect(line?.drain()).toBe(true)
    expect(kernel.log).toEqual([unmask])
  })

  it('has one kind on at a time: the last that was asked for', () => {
    const fn = open()
    fn.intx()
    fn.enableMsix(1)
    fn.intx()
    expect(kernel.log).toEqual([
      'DEVICE_SET_IRQS flags 0x24 index 0 start 0 count 1 fds 1',
      'DEVICE_SET_IRQS flags 0x21 index 0 start 0 count 0',
      'DEVICE_SET_IRQS flags 0x24 index 2 start 0 count 1 fds 1',
      'DEVICE_SET_IRQS flags 0x21 index 2 start 0 count 0',
      'DEVICE_SET_IRQS flags 0x24 index 0 start 0 count 1 fds 1',
    ])
  })

  it('has no INTx where VFIO has none', () => {
    kernel.irqs.set(VfioIrq.INTX, 0)
    expect(open().intx()).toBeUndefined()
  })
})
