import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { heapDma } from '@virtio-ts/memory/heap'
import { Errno, close, openFdCount, SystemError, socketPair, write } from '@virtio-ts/native'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type FakeDeviceOptions, FakeMachine, msixConfig } from '../fake-machine.fixture.ts'
import type { PciFunction } from '../pci-function.ts'
import { openSysfsOn, type SysfsOptions } from '../sysfs.ts'
import { linuxSysfs, type SysfsSystem } from './sysfs-system.ts'

const ADDRESS = '0000:00:04.0'
const IO = 0x4_0101
const MEMORY = 0x14_0204
const resources = [
  [0xc000, 0xc01f, IO],
  [0xfeb0_0000, 0xfeb0_0fff, MEMORY],
  [0, 0, 0],
  [0, 0, 0],
  [0xfe00_0000, 0xfe00_3fff, MEMORY],
] as const

let machine: FakeMachine
let descriptors: number
let provided: number[]
/** The kernel's end of a socket pair that stands for /dev/uio0. */
let uioFd: number | undefined
let failing: number
const opened: PciFunction[] = []

beforeEach(() => {
  machine = new FakeMachine()
  descriptors = openFdCount()
  provided = []
  uioFd = undefined
  failing = 0
})
afterEach(async () => {
  failing = 0
  for (const fn of opened.splice(0)) await fn.close()
  hangUp()
  machine.remove()
  expect(openFdCount()).toBe(descriptors)
})

function open(options: SysfsOptions = {}): PciFunction {
  const system: SysfsSystem = {
    ...linuxSysfs,
    paths: machine.paths,
    open: (path) => {
      if (!path.includes('/uio')) return linuxSysfs.open(path)
      const [near, far] = socketPair()
      uioFd = far
      return near
    },
    readAt: (fd, into, offset) => (failing === 0 ? linuxSysfs.readAt(fd, into, offset) : -failing),
  }
  const provide = (length: number) => {
    provided.push(length)
    return { memory: Object.assign(heapDma(1 << 20), { close: () => {} }), unmap: () => {} }
  }
  const fn = openSysfsOn(system, provide, ADDRESS, options)
  opened.push(fn)
  return fn
}

function hangUp(): void {
  if (uioFd !== undefined) close(uioFd)
  uioFd = undefined
}

function openFree(options: SysfsOptions = {}, device: FakeDeviceOptions = {}): PciFunction {
  machine.add(ADDRESS, { resources, ...device })
  return open(options)
}

const file = (name: string): Buffer => readFileSync(join(machine.device(ADDRESS), name))
const turn = (ms = 5): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('opening', () => {
  it('enables the function, switches decoding on, bus master, INTx and MSI-X off, and warns', async () => {
    const config = msixConfig(4)
    config[4] = 0x04
    config[0x43] = 0x80
    const warnings: string[] = []
    const fn = openFree({ onWarning: (message) => warnings.push(message) }, { config })
    expect(fn).toMatchObject({ address: ADDRESS, bus: 'sysfs', gone: false, msixVectors: 0 })
    expect(String(file('enable'))).toMatch(/^1/)
    expect(fn.configRead16(4)).toBe(0x0403)
    expect(fn.configRead16(0x42)).toBe(0x0003)
    expect(fn.intx()).toBeUndefined()
    expect(() => fn.enableMsix(1)).toThrow(expect.objectContaining({ code: 'pci.msix-unavailable' }))
    expect(warnings).toEqual([expect.stringContaining('without an IOMMU')])
    fn.setBusMaster(true)
    expect(file('config').readUInt16LE(4)).toBe(0x0407)
    await fn.close()
    await fn.close()
    expect(file('config').readUInt16LE(4)).toBe(0x0403)
    expect(String(file('enable'))).toMatch(/^0/)
    expect(fn.configRead16(0)).toBe(0xffff)
    expect(() => fn.bar(0)).toThrow(expect.objectContaining({ code: 'pci.gone' }))
  })

  it.each(['virtio-pci', 'vfio-pci'])('refuses a function that %s has', (driver) => {
    expect(() => openFree({}, { driver })).toThrow(
      expect.objectContaining({
        code: 'pci.driver-bound',
        message: expect.stringMatching(driver === 'vfio-pci' ? /vfio:0000:00:04\.0/ : /unbind`$/),
      }),
    )
  })

  it('says so when there is no such function, and when it may not be opened', () => {
    expect(() => open()).toThrow(expect.objectContaining({ code: 'pci.not-found' }))
    machine.add(ADDRESS, { resources })
    const system: SysfsSystem = {
      ...linuxSysfs,
      paths: machine.paths,
      open: (path) => {
        throw new SystemError('open', Errno.EACCES, path)
      },
    }
    expect(() => openSysfsOn(system, () => expect.fail(), ADDRESS, {})).toThrow(
      expect.objectContaining({ code: 'pci.permission', message: expect.stringContaining('root') }),
    )
  })
})

describe('registers', () => {
  it('maps memory, and reads and writes I/O ports through the file', () => {
    const fn = openFree()
    const memory = fn.bar(4)
    const ports = fn.bar(0)
    expect([memory.kind, memory.length, ports.kind, ports.length]).toEqual(['memory', 0x4000, 'io', 32])
    memory.write32(0x3ffc, 0xdead_beef)
    ports.write16(30, 0x1234)
    expect(file('resource4').readUInt32LE(0x3ffc)).toBe(0xdead_beef)
    expect(file('resource0').readUInt16LE(30)).toBe(0x1234)
    expect([memory.read32(0x3ffc), ports.read16(30)]).toEqual([0xdead_beef, 0x1234])
    expect(() => memory.read32(0x4000)).toThrow(expect.objectContaining({ code: 'pci.bar-bounds' }))
    for (const index of [2, 5, 7]) expect(() => fn.bar(index)).toThrow(expect.objectContaining({ code: 'pci.no-bar' }))
    fn.configWrite16(4, 1)
    expect(memory.read32(0x3ffc)).toBe(0xffff_ffff)
  })

  it('C6 notices at an access that the kernel no longer knows the function', async () => {
    const fn = openFree()
    fn.bar(4)
    const gone = new Promise((resolve) => fn.onGone(resolve))
    failing = Errno.ENODEV
    expect(fn.configRead16(0)).toBe(0xffff)
    failing = 0
    await expect(gone).resolves.toMatchObject({ code: 'pci.gone' })
    expect(fn.gone).toBe(true)
    expect(openFdCount()).toBe(descriptors)
  })

  it('resets through the kernel where it can', async () => {
    const fn = openFree()
    await expect(fn.reset()).rejects.toMatchObject({ code: 'pci.no-reset' })
    expect(existsSync(join(machine.device(ADDRESS), 'reset'))).toBe(false)
    writeFileSync(join(machine.device(ADDRESS), 'reset'), '')
    fn.setBusMaster(true)
    await fn.reset()
    expect(String(file('reset'))).toBe('1')
    expect(fn.configRead16(4)).toBe(0x0403)
  })
})

describe('memory', () => {
  it('has physical addresses', () => {
    const fn = openFree({ memory: 8 << 20 })
    expect(() => fn.dma).toThrow(expect.objectContaining({ code: 'pci.address-space' }))
    fn.setAddressSpace?.('physical')
    expect(provided).toEqual([8 << 20])
    fn.dma.free(fn.dma.allocate(64))
  })

  it.each([
    ['DMA-FQ', 'refused'],
    ['DMA', 'refused'],
    ['identity', 'provided'],
    [undefined, 'provided'],
  ])('with an IOMMU of type %s, bus addresses are %s', (groupType, what) => {
    const fn = openFree({}, groupType === undefined ? {} : { group: '3', groupType })
    if (what === 'provided') fn.setAddressSpace?.('bus')
    else {
      expect(() => fn.setAddressSpace?.('bus')).toThrow(
        expect.objectContaining({ code: 'pci.address-space', message: expect.stringContaining('vfio:') }),
      )
    }
    expect(provided).toHaveLength(what === 'provided' ? 1 : 0)
  })

  it('refuses a device that takes the other kind than was asked for', () => {
    const fn = openFree({ addressSpace: 'physical' })
    expect(() => fn.setAddressSpace?.('bus')).toThrow(expect.objectContaining({ code: 'pci.address-space' }))
  })
})

describe('INTx through uio_pci_generic', () => {
  it('is unmasked in the command register after it was served', async () => {
    const fn = openFree({}, { driver: 'uio_pci_generic', uio: 'uio0' })
    const line = fn.intx()
    const masked = (): boolean => (fn.configRead16(4) & 0x400) !== 0
    expect(masked()).toBe(false)
    const seen: boolean[] = []
    const stop = line?.watch(() => seen.push(masked()))
    // As the kernel does when the line fires: it masks, then it counts.
    fn.configWrite16(4, 0x403)
    write(uioFd as number, Uint8Array.of(1, 0, 0, 0))
    for (let i = 0; i < 100 && masked(); i++) await turn()
    expect(seen).toEqual([true])
    expect(masked()).toBe(false)
    stop?.()
    await fn.close()
    expect(file('config').readUInt16LE(4)).toBe(0x0403)
  })

  it('L2 ends with the function', async () => {
    const fn = openFree({}, { driver: 'uio_pci_generic', uio: 'uio0' })
    fn.intx()?.watch(() => expect.fail())
    const gone = new Promise((resolve) => fn.onGone(resolve))
    hangUp()
    await expect(gone).resolves.toMatchObject({ code: 'pci.gone' })
  })
})
