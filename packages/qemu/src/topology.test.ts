import { PciConfig } from '@virtio-ts/pci'
import { afterEach, expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { QemuBench } from './qemu-bench.ts'
import type { QemuBenchOptions } from './qemu-bench-options.ts'
import type { QemuFunction } from './qemu-function.ts'
import { RawVirtio, until } from './raw-virtio.fixture.ts'

let bench: QemuBench
const start = async (options: QemuBenchOptions): Promise<QemuBench> => (bench = await QemuBench.start(options))
afterEach(() => bench.close())

async function works(fn: QemuFunction): Promise<void> {
  const line = fn.intx()
  const device = new RawVirtio(fn)
  device.begin()
  const queue = device.queue(0)
  device.driverOk()
  const buffer = fn.dma.allocate(32)
  queue.add(buffer, true)
  queue.notify()
  await until(() => line?.drain() === true && device.readIsr() === 1)
  expect(queue.written(0)).toBe(32)
  device.status = 0
}

requirement('qemu')('topologies', () => {
  it('20 functions side by side, each at addresses and a line of its own', async () => {
    await start({ devices: Array.from({ length: 20 }, () => 'virtio-rng-pci') })
    expect(bench.functions).toHaveLength(20)
    const bases = bench.functions.map((fn) => [fn.configRead32(0x20), fn.configRead32(0x24)].join())
    expect(new Set(bases).size).toBe(20)
    for (const fn of bench.functions) await works(fn)
  })

  it('several functions in one slot', async () => {
    await start({
      devices: ['virtio-rng-pci,addr=3.0,multifunction=on', 'virtio-rng-pci,addr=3.1', 'virtio-rng-pci,addr=3.5'],
    })
    expect(bench.functions.map(({ address }) => address)).toEqual(['0000:00:03.0', '0000:00:03.1', '0000:00:03.5'])
    for (const fn of bench.functions) await works(fn)
  })

  it('q35: ports behind a switch, and a bridge to conventional PCI', async () => {
    await start({
      devices: [
        'pcie-root-port,id=port0,chassis=1',
        'x3130-upstream,id=up,bus=port0',
        'xio3130-downstream,id=down0,bus=up,chassis=2',
        'xio3130-downstream,id=down1,bus=up,chassis=3',
        'virtio-rng-pci,id=rng0,bus=down0',
        'virtio-rng-pci,id=rng1,bus=down1',
        'pcie-root-port,id=port1,chassis=4',
        'pcie-pci-bridge,id=old,bus=port1',
        // transitional, with I/O ports behind two bridges
        'virtio-rng-pci,id=rng2,bus=old,addr=3',
        'virtio-rng-pci,id=rng3,bus=old,addr=4',
        'virtio-rng-pci,id=rng4',
      ],
    })
    expect(bench.functions.map(({ id, address }) => [id, address])).toEqual([
      ['rng0', '0000:03:00.0'],
      ['rng1', '0000:04:00.0'],
      ['rng2', '0000:06:03.0'],
      ['rng3', '0000:06:04.0'],
      ['rng4', '0000:00:03.0'],
    ])
    for (const fn of bench.functions) await works(fn)
    const legacy = bench.function('rng3').bar(0)
    expect(legacy.kind).toBe('io')
    legacy.write8(18, 1)
    expect([legacy.read8(18), bench.function('rng2').bar(0).read8(18)]).toEqual([1, 0])
    // all of it once more after a reset of everything
    await bench.qmp.systemReset()
    await bench.rescan()
    for (const fn of bench.functions) await works(fn)
    legacy.write8(18, 1)
    expect(legacy.read8(18)).toBe(1)
  })

  it('pc: behind a PCI bridge', async () => {
    await start({ machine: 'pc', devices: ['pci-bridge,id=b,chassis_nr=1', 'virtio-rng-pci,bus=b,addr=5,id=rng'] })
    const fn = bench.function('rng')
    expect(fn.address).toBe('0000:01:05.0')
    await works(fn)
  })

  it('devices on other buses are no functions here', async () => {
    await start({
      devices: ['virtio-serial-pci,id=serial', 'virtconsole,chardev=c', 'virtio-blk-pci,drive=d,id=disk'],
      chardevs: ['null,id=c'],
      drives: ['driver=null-co,size=1048576,if=none,id=d'],
      objects: ['rng-builtin,id=entropy'],
      args: ['-name', 'whatever'],
    })
    expect(bench.functions.map(({ id }) => id)).toEqual(['serial', 'disk'])
    const disk = new RawVirtio(bench.function('disk'))
    expect(disk.config.bar.read32(disk.config.offset)).toBe(2048)
    expect(bench.function('disk').configRead16(PciConfig.DEVICE_ID)).toBe(0x1001)
  })
})
