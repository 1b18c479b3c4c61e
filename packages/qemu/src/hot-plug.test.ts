import { PciConfig } from '@virtio-ts/pci'
import { afterEach, describe, expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { QemuBench } from './qemu-bench.ts'
import type { QemuBenchOptions } from './qemu-bench-options.ts'
import type { QemuFunction } from './qemu-function.ts'
import { RawVirtio, until } from './raw-virtio.fixture.ts'

let bench: QemuBench
const start = async (options: QemuBenchOptions): Promise<QemuBench> => (bench = await QemuBench.start(options))
afterEach(() => bench.close())

/** Entropy by an interrupt: registers, DMA and MSI-X at once. */
async function works(fn: QemuFunction): Promise<void> {
  const [vector] = fn.enableMsix(1)
  const device = new RawVirtio(fn)
  device.begin()
  const queue = device.queue(0, 0)
  device.driverOk()
  const buffer = fn.dma.allocate(32)
  queue.add(buffer, true)
  queue.notify()
  await until(() => vector?.drain() === true)
  expect(queue.written(0)).toBe(32)
  device.status = 0
  fn.dma.free(buffer)
  fn.dma.free(queue.ring)
}

requirement('qemu')('hot-plug', () => {
  describe.each([
    ['pc', ['virtio-rng-pci,id=fixed'], '0000:00:03.0'],
    ['q35', ['virtio-rng-pci,id=fixed', 'pcie-root-port,id=port0,chassis=1'], '0000:01:00.0'],
  ] as const)('%s', (machine, devices, address) => {
    it('a device is plugged in, used, unplugged, and plugged in again', async () => {
      await start({ machine, devices })
      let bases: number | undefined
      for (let round = 0; round < 3; round++) {
        const fn = await bench.hotAdd('virtio-rng-pci,id=new')
        expect(fn.address).toBe(address)
        expect(bench.functions.map(({ id }) => id)).toEqual(['fixed', 'new'])
        // the addresses of the one before, which are free again
        const base = fn.configRead32(PciConfig.BAR0 + 4)
        expect(base).toBe((bases ??= base))
        await works(fn)
        await works(bench.function('fixed'))
        const reasons: Error[] = []
        fn.onGone((reason) => reasons.push(reason))
        await bench.hotRemove('new')
        expect(reasons).toHaveLength(1)
        expect(fn.gone).toBe(true)
        expect([fn.configRead32(0), fn.bar(4).read32(0)]).toEqual([0xffffffff, 0xffffffff])
        // nothing goes to where another may be plugged in
        const { outstanding } = bench.qtest
        fn.bar(4).notify(0, 0, 16)
        expect(bench.qtest.outstanding).toBe(outstanding)
        expect(() => fn.enableMsix(1)).toThrowError(expect.objectContaining({ code: 'pci.gone' }))
        expect(() => bench.function('new')).toThrowError(expect.objectContaining({ code: 'qemu.no-function' }))
        await fn.close()
        // late listeners hear of it at once
        let late = 0
        fn.onGone(() => late++)
        expect(late).toBe(1)
      }
      await works(bench.function('fixed'))
      expect(bench.dma.stats.allocatedRegions).toBe(0)
    })

    it('an unplugged function with a driver at work is gone, and takes nobody with it', async () => {
      await start({ machine, devices, netdevs: ['user,id=n0'] })
      const fn = await bench.hotAdd('virtio-net-pci,netdev=n0,id=nic')
      const [vector] = fn.enableMsix(1)
      let calls = 0
      vector?.watch(() => calls++)
      const device = new RawVirtio(fn)
      device.begin()
      device.driverOk()
      await bench.hotRemove('nic')
      expect(device.status).toBe(0xff)
      expect(vector?.drain()).toBe(false)
      await works(bench.function('fixed'))
      expect(calls).toBe(0)
    })
  })

  it('I/O ports behind a root port are there from the moment that something needs them', async () => {
    await start({ devices: ['pcie-root-port,id=port0,chassis=1'] })
    const fn = await bench.hotAdd('virtio-rng-pci,disable-legacy=off,id=old')
    const legacy = fn.bar(0)
    expect(legacy.kind).toBe('io')
    legacy.write8(18, 1)
    expect(legacy.read8(18)).toBe(1)
    await works(fn)
  })

  it('netdev and card are plugged in together', async () => {
    await start({ machine: 'pc', devices: [] })
    await bench.qmp.netdevAdd('user,id=n9,net=10.9.0.0/24')
    const fn = await bench.hotAdd('virtio-net-pci,netdev=n9,disable-legacy=on')
    expect(fn.id).toBe('device0')
    expect(fn.configRead16(2)).toBe(0x1041)
    await bench.hotRemove('device0')
    await bench.qmp.netdevDel('n9')
    await expect(bench.qmp.netdevDel('n9')).rejects.toMatchObject({ code: 'qmp.error' })
  })

  it('operations started together take turns', async () => {
    await start({ devices: ['pcie-root-port,id=port0,chassis=1', 'pcie-root-port,id=port1,chassis=2'] })
    const added = await Promise.all([bench.hotAdd('virtio-rng-pci'), bench.hotAdd('virtio-rng-pci'), bench.rescan()])
    expect(added.slice(0, 2)).toMatchObject([{ address: '0000:01:00.0' }, { address: '0000:02:00.0' }])
    for (const fn of bench.functions) await works(fn)
    await Promise.all(bench.functions.map(({ id }) => bench.hotRemove(id)))
    expect(bench.functions).toEqual([])
  })

  it('what cannot be plugged in or out says why, and the bench goes on', async () => {
    await start({ devices: ['virtio-rng-pci,id=fixed', 'pcie-root-port,id=port0,chassis=1'] })
    await expect(bench.hotAdd('virtio-nothing-pci')).rejects.toMatchObject({ code: 'qmp.error' })
    await expect(bench.hotAdd('virtio-rng-pci,bus=port7')).rejects.toMatchObject({ code: 'qemu.no-hot-plug' })
    await expect(bench.hotAdd('virtio-rng-pci,id=fixed')).rejects.toBeInstanceOf(TypeError)
    await expect(bench.hotRemove('nobody')).rejects.toMatchObject({ code: 'qemu.no-function' })
    // not on a port
    await expect(bench.hotRemove('fixed')).rejects.toMatchObject({ code: 'qmp.error' })
    expect(bench.function('fixed').gone).toBe(false)
    await bench.hotAdd('virtio-rng-pci,id=one')
    await expect(bench.hotAdd('virtio-rng-pci,id=two')).rejects.toMatchObject({
      code: 'qemu.no-hot-plug',
      message: expect.stringContaining('pcie-root-port'),
    })
    await works(bench.function('one'))
    await works(bench.function('fixed'))
  })

  it('rescan sees what was plugged in by other means', async () => {
    await start({ machine: 'pc', devices: [] })
    await bench.qmp.deviceAdd('virtio-rng-pci,id=other')
    const { added } = await bench.rescan()
    expect(added.map(({ id }) => id)).toEqual(['other'])
    await works(bench.function('other'))
  })
})
