import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { PciLocator } from '@virtio-ts/device-locator'
import { FakeKernel } from '../../../../packages/pci/src/fake-kernel.fixture.ts'
import { takeOver } from '../takeover/take-over.ts'
import { address, TakeoverBench } from '../takeover/takeover-bench.fixture.ts'
import { hostFunctionUser, type TakeoverWishes } from './host-function-user.ts'

const { signal } = new AbortController()
const vfio: PciLocator = { scheme: 'vfio', address }
const sysfs: PciLocator = { scheme: 'sysfs', address }
let kernel: FakeKernel
let bench: TakeoverBench
beforeEach(() => {
  kernel = new FakeKernel(['virtio-pci', 'vfio-pci', 'uio_pci_generic'])
  bench = new TakeoverBench(kernel)
})
afterEach(() => {
  bench[Symbol.dispose]()
})

const user = (wishes: TakeoverWishes = {}) => hostFunctionUser(wishes, () => {}, bench.host)

describe('hostFunctionUser', () => {
  it('takes a function for vfio, and gives it back', async () => {
    const taken = await user().take(vfio, signal)
    expect(bench.driver).toBe('vfio-pci')
    await taken.giveBack()
    expect(bench.driver).toBe('virtio-pci')
  })

  it.each([
    ['uio_pci_generic', {}, 'uio_pci_generic'],
    ['no driver where interrupts are not wanted', { poll: true }, undefined],
  ])('takes a function for sysfs: %s', async (_, wishes, driver) => {
    const taken = await user(wishes).take(sysfs, signal)
    expect(bench.driver).toBe(driver)
    await taken.giveBack()
    expect(bench.driver).toBe('virtio-pci')
  })

  it('takes a function for sysfs without a driver where the kernel has none', async () => {
    kernel.remove('bus/pci/drivers/uio_pci_generic')
    const taken = await user().take(sysfs, signal)
    expect(bench.driver).toBeUndefined()
    await taken.giveBack()
    expect(bench.driver).toBe('virtio-pci')
  })

  it('takes a function for sysfs without a driver where uio_pci_generic does not take it', async () => {
    kernel.failing.add('uio_pci_generic')
    await user().take(sysfs, signal)
    expect(bench.driver).toBeUndefined()
    expect(kernel.override(address)).toBe('none')
  })

  it('leaves the driver to whoever bound it', async () => {
    await (await takeOver(address, { driver: 'none', by: 'bind' }, bench.host)).giveBack()
    const taken = await user().take(sysfs, signal)
    expect(bench.driver).toBeUndefined()
    await taken.giveBack()
    expect(bench.driver).toBeUndefined()
  })

  it('refuses a default route unless it is forced', async () => {
    bench.defaultRoute()
    await expect(user().take(vfio, signal)).rejects.toMatchObject({ code: 'takeover.default-route' })
    await expect(user().take(sysfs, signal)).rejects.toMatchObject({ code: 'takeover.default-route' })
    await (await user({ force: true }).take(vfio, signal)).giveBack()
  })

  it('forgets one that was unplugged, and keeps what is known of one that somebody took away', async () => {
    const first = await user().take(vfio, signal)
    await first.giveBack(true)
    expect(bench.journal.addresses()).toEqual([address])
    const second = await user().take(vfio, signal)
    kernel.remove(`bus/pci/devices/${address}`)
    await second.giveBack(true)
    expect(bench.journal.addresses()).toEqual([])
  })

  it('uses what is bound already where it may change nothing', async () => {
    await (await takeOver(address, { by: 'bind' }, bench.host)).giveBack()
    bench.host.whyNotWritable = () => 'EACCES'
    bench.host.journal.prepare = () => {
      throw new Error('not ours')
    }
    await (await user().take(vfio, signal)).giveBack()
    await expect(user().take(sysfs, signal)).rejects.toMatchObject({ code: 'takeover.permission' })
  })

  it('gives the kernel time to bind a function that was just plugged in', async () => {
    const hosts = user()
    await (await hosts.take(vfio, signal)).giveBack()
    await kernel.sysfs.write('bus/pci/drivers/virtio-pci/unbind', address)
    setTimeout(() => void kernel.sysfs.write('bus/pci/drivers/virtio-pci/bind', address), 150)
    const taken = await hosts.take(sysfs, signal)
    expect(bench.journal.read(address)?.driver).toBe('virtio-pci')
    await taken.giveBack()
  })

  it('warns once', () => {
    const said: string[] = []
    const { onWarning } = hostFunctionUser({}, (message) => said.push(message), bench.host)
    onWarning?.('no IOMMU')
    onWarning?.('no IOMMU')
    expect(said).toEqual(['no IOMMU'])
  })
})
