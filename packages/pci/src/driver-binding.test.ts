import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bindDriver, currentDriver, driverOverride, restoreDriver } from './driver-binding.ts'
import { FakeKernel } from './fake-kernel.fixture.ts'
import { sysfsFiles } from './sysfs-files.ts'

const address = '0000:00:04.0'
let kernel: FakeKernel
beforeEach(() => {
  kernel = new FakeKernel()
  kernel.add(address, { driver: 'virtio-pci' })
})
afterEach(() => kernel[Symbol.dispose]())

const options = () => ({ sysfs: kernel.sysfs, timeout: 200 })

describe('bindDriver', () => {
  it('overrides, unbinds and probes, in this order', async () => {
    await bindDriver(address, 'vfio-pci', options())
    expect(kernel.writes).toEqual([
      `bus/pci/devices/${address}/driver_override vfio-pci`,
      `bus/pci/drivers/virtio-pci/unbind ${address}`,
      `bus/pci/drivers_probe ${address}`,
    ])
    expect(currentDriver(address, kernel.sysfs)).toBe('vfio-pci')
    expect(driverOverride(address, kernel.sysfs)).toBe('vfio-pci')
  })

  it('does nothing that is done already', async () => {
    await bindDriver(address, 'vfio-pci', options())
    kernel.writes.length = 0
    await bindDriver(address, 'vfio-pci', options())
    expect(kernel.writes).toEqual([])
  })

  it('takes a function that no driver has, and the short form of an address', async () => {
    kernel.add('0000:00:05.0')
    await bindDriver('0:5.0', 'vfio-pci', options())
    expect(currentDriver('0000:00:05.0', kernel.sysfs)).toBe('vfio-pci')
  })

  it('refuses what is not an address, a function, or a driver there is, before it changes anything', async () => {
    await expect(bindDriver('../../x', 'vfio-pci', options())).rejects.toMatchObject({ code: 'pci.address' })
    await expect(bindDriver('0000:00:1f.0', 'vfio-pci', options())).rejects.toMatchObject({
      code: 'binding.no-function',
      message: expect.stringContaining('0000:00:1f.0'),
    })
    for (const driver of ['uio_pci_generic', '../vfio-pci', '', '-x', 'a b'])
      await expect(bindDriver(address, driver, options())).rejects.toMatchObject({ code: 'binding.no-driver' })
    expect(kernel.writes).toEqual([])
  })

  it('says what the kernel refused, with its error', async () => {
    const refusal = Object.assign(new Error('EACCES: permission denied'), { code: 'EACCES' })
    kernel.onWrite = () => {
      throw refusal
    }
    await expect(bindDriver(address, 'vfio-pci', options())).rejects.toMatchObject({
      code: 'binding.refused',
      cause: refusal,
    })
  })

  it('waits no longer than it may: for a driver that takes nothing, and for a write that does not return', async () => {
    kernel.failing.add('vfio-pci')
    await expect(bindDriver(address, 'vfio-pci', options())).rejects.toMatchObject({
      code: 'binding.timeout',
      message: expect.stringContaining('bound to no driver and not to vfio-pci'),
    })
    kernel.onWrite = () => new Promise(() => {})
    await expect(restoreDriver(address, { driver: 'virtio-pci' }, options())).rejects.toMatchObject({
      code: 'binding.timeout',
      message: expect.stringContaining('something still uses it'),
    })
  })

  it('gives up between two steps when it is told to', async () => {
    const controller = new AbortController()
    kernel.onWrite = (path, when) => {
      if (path.endsWith('unbind') && when === 'after') controller.abort(new Error('enough'))
    }
    await expect(bindDriver(address, 'vfio-pci', { ...options(), signal: controller.signal })).rejects.toThrow('enough')
    expect(currentDriver(address, kernel.sysfs)).toBeUndefined()
  })
})

describe('restoreDriver', () => {
  it('goes back to the driver and the override of then', async () => {
    await bindDriver(address, 'vfio-pci', options())
    kernel.writes.length = 0
    await restoreDriver(address, { driver: 'virtio-pci' }, options())
    expect(kernel.writes).toEqual([
      `bus/pci/devices/${address}/driver_override `,
      `bus/pci/drivers/vfio-pci/unbind ${address}`,
      `bus/pci/drivers/virtio-pci/bind ${address}`,
    ])
    expect(driverOverride(address, kernel.sysfs)).toBeUndefined()
    kernel.writes.length = 0
    await restoreDriver(address, { driver: 'virtio-pci' }, options())
    expect(kernel.writes).toEqual([])
  })

  it('leaves a function without a driver that had none, and keeps an override it had', async () => {
    kernel.add('0000:00:05.0')
    kernel.file('bus/pci/devices/0000:00:05.0/driver_override', 'e1000e\n')
    await bindDriver('0000:00:05.0', 'vfio-pci', options())
    await restoreDriver('0000:00:05.0', { driver: undefined, override: 'e1000e' }, options())
    expect(currentDriver('0000:00:05.0', kernel.sysfs)).toBeUndefined()
    expect(driverOverride('0000:00:05.0', kernel.sysfs)).toBe('e1000e')
  })

  it('comes back from wherever a binding broke off', async () => {
    for (const when of ['before', 'after'] as const) {
      for (let stop = 1; stop <= 3; stop++) {
        let seen = 0
        kernel.onWrite = (_, moment) => {
          if (moment === when && ++seen === stop) throw new Error('killed here')
        }
        await expect(bindDriver(address, 'vfio-pci', options())).rejects.toThrow('killed here')
        kernel.onWrite = () => {}
        await restoreDriver(address, { driver: 'virtio-pci' }, options())
        expect([currentDriver(address, kernel.sysfs), kernel.override(address)]).toEqual(['virtio-pci', '(null)'])
      }
    }
  })

  it('needs the driver to be there still', async () => {
    await bindDriver(address, 'vfio-pci', options())
    kernel.remove('bus/pci/drivers/virtio-pci')
    await expect(restoreDriver(address, { driver: 'virtio-pci' }, options())).rejects.toMatchObject({
      code: 'binding.no-driver',
    })
    expect(currentDriver(address, kernel.sysfs)).toBe('vfio-pci')
  })
})

describe('sysfsFiles', () => {
  it('makes no file where an attribute is missing', async () => {
    const files = sysfsFiles(kernel.root)
    await expect(files.write('bus/pci/nothing', 'x')).rejects.toMatchObject({ code: 'ENOENT' })
    expect(files.exists('bus/pci/nothing')).toBe(false)
    await files.write('bus/pci/drivers_probe', 'x\n')
    expect(files.readText('bus/pci/drivers_probe')).toBe('x')
    expect(files.readText('bus/pci/nothing')).toBeUndefined()
    expect(files.list('bus/pci/nothing')).toEqual([])
    expect(files.linkName('bus/pci/nothing')).toBeUndefined()
  })
})
