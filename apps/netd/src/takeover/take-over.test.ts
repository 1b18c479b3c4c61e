import { statSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeKernel } from '../../../../packages/pci/src/fake-kernel.fixture.ts'
import { type Released, release, takeOver } from './take-over.ts'
import { address, TakeoverBench } from './takeover-bench.fixture.ts'
import type { TakeoverHost } from './takeover-host.ts'

let kernel: FakeKernel
let bench: TakeoverBench
beforeEach(() => {
  kernel = new FakeKernel(['virtio-pci', 'vfio-pci', 'uio_pci_generic'])
  bench = new TakeoverBench(kernel)
})
afterEach(() => bench[Symbol.dispose]())

describe('takeOver', () => {
  it('binds the function, and gives it back as it was', async () => {
    const before = bench.network.state
    const taken = await takeOver('00:04.0', {}, bench.host)
    expect([bench.driver, kernel.override(address)]).toEqual(['vfio-pci', 'vfio-pci'])
    expect(bench.network.interfaces.size).toBe(0)
    expect(statSync(bench.journal.path(address)).mode & 0o777).toBe(0o600)
    await taken.giveBack()
    expect([bench.driver, kernel.override(address)]).toEqual(['virtio-pci', '(null)'])
    expect(bench.network.state).toEqual(before)
    expect(bench.journal.addresses()).toEqual([])
    await taken.giveBack()
  })

  it('renames the interface back when the kernel calls it something else', async () => {
    const before = bench.network.state
    bench.nextName = 'ens4'
    const taken = await takeOver(address, {}, bench.host)
    await taken.giveBack()
    expect(bench.network.commands.slice(0, 2)).toEqual([
      'link set dev ens4 name eth0',
      'link set dev eth0 address 02:00:00:00:00:99',
    ])
    expect(bench.network.state).toEqual(before)
  })

  it('gives everything to the interface under its new name when the old one is taken', async () => {
    bench.nextName = 'ens4'
    const taken = await takeOver(address, {}, bench.host)
    bench.network.appear('eth0', '52:54:00:00:00:01')
    await expect(taken.giveBack()).rejects.toMatchObject({
      code: 'takeover.incomplete',
      why: ['the name eth0: RTNETLINK answers: File exists'],
    })
    expect(bench.network.interfaces.get('ens4')?.addr_info).toHaveLength(3)
    expect(bench.network.routes.map(({ dev }) => dev)).toEqual(['ens4', 'ens4', 'ens4'])
    // The entry is still there, and the rest can be done later.
    bench.network.vanish('eth0')
    await release(address, bench.host)
    expect(bench.network.interfaces.has('eth0')).toBe(true)
    expect(bench.journal.addresses()).toEqual([])
  })

  it('tells what could not be restored, and does the rest', async () => {
    const taken = await takeOver(address, {}, bench.host)
    bench.network.refusing = /mtu|10\.0\.2\.16/
    await expect(taken.giveBack()).rejects.toMatchObject({
      code: 'takeover.incomplete',
      why: [
        'the MTU 1400: RTNETLINK answers: Operation not permitted',
        'the address 10.0.2.16/24: RTNETLINK answers: Operation not permitted',
      ],
      fix: expect.stringContaining('netd release 0000:00:04.0'),
    })
    expect(bench.network.routes).toHaveLength(3)
    expect(bench.journal.addresses()).toEqual([address])
  })

  it('gives no address back whose time is over, and the others with what is left of it', async () => {
    const eth0 = bench.network.interfaces.get('eth0')
    for (const [index, info] of (eth0?.addr_info ?? []).entries())
      Object.assign(info, { valid_life_time: [60, 3600, 0xffff_ffff][index], preferred_life_time: [60, 50, 10][index] })
    Object.assign(bench.host, { now: () => 1_000_000 })
    const taken = await takeOver(address, {}, bench.host)
    Object.assign(bench.host, { now: () => 1_100_000 })
    await taken.giveBack()
    expect(bench.network.interfaces.get('eth0')?.addr_info).toMatchObject([
      { local: '10.0.2.16', valid_life_time: 3500, preferred_life_time: 0 },
      { local: 'fec0::15', valid_life_time: 0xffff_ffff, preferred_life_time: 0 },
    ])
  })

  it('refuses a function with a default route, unless it is forced', async () => {
    bench.defaultRoute()
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({
      code: 'takeover.default-route',
      message: expect.stringContaining('eth0'),
      fix: expect.stringContaining('--force'),
    })
    expect([bench.driver, kernel.writes, bench.journal.addresses()]).toEqual(['virtio-pci', [], []])
    await (await takeOver(address, { force: true }, bench.host)).giveBack()
  })

  it('refuses what has a VLAN on top, which would not come back', async () => {
    kernel.link('class/net/eth0/master', '../br0')
    kernel.file('class/net/eth0/upper_br0/x', '')
    await (await takeOver(address, {}, bench.host)).giveBack()
    kernel.file('class/net/eth0/upper_eth0.5/x', '')
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({
      code: 'takeover.stacked',
      message: expect.stringContaining('eth0.5 on top of eth0'),
    })
    await (await takeOver(address, { force: true }, bench.host)).giveBack()
  })

  it('refuses one whose interface is out of sight, in another network namespace', async () => {
    kernel.remove(`bus/pci/devices/${address}/virtio0/net/eth0`)
    kernel.link(`bus/pci/devices/${address}/virtio0/driver`, '../../../virtio/drivers/virtio_net')
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({ code: 'takeover.namespace' })
    await (await takeOver(address, { force: true }, bench.host)).giveBack()
  })

  it('refuses other devices than virtio network ones, and addresses that are none', async () => {
    bench.addFunction('0000:00:05.0', 5, '0x1042')
    kernel.add('0000:00:06.0')
    const refusals = {
      '0000:00:05.0': 'takeover.not-network',
      '0000:00:06.0': 'takeover.not-network',
      '0000:00:07.0': 'binding.no-function',
      '../04.0': 'pci.address',
    }
    for (const [at, code] of Object.entries(refusals))
      await expect(takeOver(at, { force: true }, bench.host)).rejects.toMatchObject({ code })
    expect(kernel.writes).toEqual([])
  })

  it('refuses a group with functions the kernel drives, and vfio-pci without an IOMMU', async () => {
    kernel.add('0000:00:08.0', { driver: 'uio_pci_generic', group: 4 })
    kernel.link(`kernel/iommu_groups/4/devices/${address}-x`, '.')
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({
      code: 'takeover.group',
      why: ['0000:00:08.0 (uio_pci_generic)'],
    })
    kernel.remove(`bus/pci/devices/${address}/iommu_group`)
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({ code: 'takeover.no-iommu' })
    await (await takeOver(address, { driver: 'uio_pci_generic' }, bench.host)).giveBack()
    await (await takeOver(address, { driver: 'none' }, bench.host)).giveBack()
    expect([bench.driver, kernel.override(address)]).toEqual(['virtio-pci', '(null)'])
    kernel.file('module/vfio/parameters/enable_unsafe_noiommu_mode', 'Y\n')
    await (await takeOver(address, {}, bench.host)).giveBack()
  })

  it('says that it is not permitted before it tries', async () => {
    Object.assign(bench.host, { whyNotWritable: () => 'EACCES' })
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({
      code: 'takeover.permission',
      fix: expect.stringContaining('root'),
    })
    Object.assign(bench.host, { whyNotWritable: () => 'EROFS' })
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({
      why: [expect.stringContaining('read-only')],
    })
  })

  it('is had by one at a time, and release says who that is', async () => {
    const taken = await takeOver(address, { purpose: 'netd run vfio:0000:00:04.0' }, bench.host)
    const refusal = {
      code: 'takeover.in-use',
      message: `${address} is in use by pid ${process.pid}: netd run vfio:0000:00:04.0`,
    }
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject(refusal)
    await expect(release(address, bench.host)).rejects.toMatchObject(refusal)
    expect(bench.driver).toBe('vfio-pci')
    await taken.giveBack()
  })

  it('neither takes nor releases what another program has open', async () => {
    const taken = await takeOver(address, {}, bench.host)
    const asked: string[] = []
    const usersOf: TakeoverHost['usersOf'] = (paths) => {
      asked.push(...paths)
      return [{ pid: 4711, program: 'dpdk-testpmd', path: '/dev/vfio/4' }]
    }
    const busy = takeOver(address, {}, bench.host).catch(() => {})
    await busy
    Object.assign(bench.host, { usersOf })
    await expect(taken.giveBack()).rejects.toMatchObject({
      code: 'takeover.in-use',
      message: expect.stringContaining('dpdk-testpmd (pid 4711)'),
    })
    expect(asked).toContain('/dev/vfio/4')
    expect(bench.driver).toBe('vfio-pci')
  })

  it('undoes what it began when it cannot go on, or is told to stop', async () => {
    const before = bench.network.state
    kernel.failing.add('vfio-pci')
    await expect(takeOver(address, {}, bench.host)).rejects.toMatchObject({ code: 'binding.timeout' })
    expect([bench.driver, kernel.override(address), bench.journal.addresses()]).toEqual(['virtio-pci', '(null)', []])
    kernel.failing.clear()
    const controller = new AbortController()
    kernel.onWrite = (path, when) => {
      if (path.endsWith('virtio-pci/unbind') && when === 'after') controller.abort(new Error('stop'))
    }
    await expect(takeOver(address, { signal: controller.signal }, bench.host)).rejects.toThrow('stop')
    expect([bench.driver, kernel.override(address), bench.journal.addresses()]).toEqual(['virtio-pci', '(null)', []])
    expect(bench.network.state).toEqual(before)
  })

  it('leaves alone what somebody else bound', async () => {
    await kernel.sysfs.write(`bus/pci/devices/${address}/driver_override`, 'vfio-pci\n')
    await kernel.sysfs.write('bus/pci/drivers/virtio-pci/unbind', address)
    await kernel.sysfs.write('bus/pci/drivers_probe', address)
    kernel.writes.length = 0
    const taken = await takeOver(address, {}, bench.host)
    expect(taken.entry).toBeUndefined()
    await taken.giveBack()
    expect([kernel.writes, bench.driver]).toEqual([[], 'vfio-pci'])
    await expect(release(address, bench.host)).rejects.toMatchObject({ code: 'takeover.not-taken' })
  })

  it('keeps what bind took, whoever uses it meanwhile', async () => {
    const before = bench.network.state
    await (await takeOver(address, { by: 'bind' }, bench.host)).giveBack()
    expect(bench.driver).toBe('vfio-pci')
    await (await takeOver(address, {}, bench.host)).giveBack()
    expect(bench.driver).toBe('vfio-pci')
    const { entry }: Released = await release(address, bench.host)
    expect(entry?.interfaces.map(({ name }) => name)).toEqual(['eth0'])
    expect(bench.network.state).toEqual(before)
    expect(await release(address, bench.host)).toEqual({ address, driver: 'virtio-pci', entry: undefined })
  })
})
