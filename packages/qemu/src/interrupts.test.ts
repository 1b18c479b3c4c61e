import { DmaError } from '@virtio-ts/memory'
import { PciCommand, PciConfig, PciStatus } from '@virtio-ts/pci'
import { afterEach, expect, it } from 'vitest'
import { requirement } from '../../../test/requirements.ts'
import { QemuBench } from './qemu-bench.ts'
import type { QemuBenchOptions } from './qemu-bench-options.ts'
import { RawVirtio, until } from './raw-virtio.fixture.ts'

let bench: QemuBench
const start = async (options: QemuBenchOptions): Promise<QemuBench> => (bench = await QemuBench.start(options))
afterEach(() => bench.close())

const NET_MODERN = 'virtio-net-pci,netdev=n0,disable-legacy=on,id=nic'
const NET_F_STATUS = 1 << 16
const netStatus = (device: RawVirtio): number => device.config.bar.read16(device.config.offset + 6)

requirement('qemu')('MSI-X', () => {
  it.each(['q35', 'pc'] as const)('%s: a configuration change fires its vector, and no other', async (machine) => {
    await start({ machine, devices: [NET_MODERN], netdevs: ['user,id=n0'] })
    const fn = bench.function('nic')
    expect(fn.msixVectors).toBe(4)
    const vectors = fn.enableMsix(2)
    expect(vectors).toHaveLength(2)
    const device = new RawVirtio(fn)
    device.begin(NET_F_STATUS)
    expect(device.setConfigVector(1)).toBe(1)
    device.driverOk()
    expect(netStatus(device)).toBe(1)
    expect(vectors[1]?.drain()).toBe(false)

    const fired = new Promise<void>((resolve) => {
      const stop = vectors[1]?.watch(() => {
        stop?.()
        resolve()
      })
    })
    await bench.qmp.setLink('nic', false)
    await fired
    expect(netStatus(device)).toBe(0)
    expect(vectors[0]?.drain()).toBe(false)
  })

  it.each([
    ['q35', false],
    ['q35', true],
    ['pc', true],
  ] as const)('%s: used buffers fire the queue vector, DMA works (high memory: %s)', async (machine, highMemory) => {
    await start({ machine, highMemory, devices: ['virtio-rng-pci'] })
    const fn = bench.function(0)
    const [vector] = fn.enableMsix(1)
    const device = new RawVirtio(fn)
    device.begin()
    const queue = device.queue(0, 0)
    device.driverOk()
    const buffer = fn.dma.allocate(64)
    expect(buffer.deviceAddress >= 2 ** 32).toBe(highMemory)
    for (let round = 1; round <= 20; round++) {
      const fired = new Promise<void>((resolve) => {
        const stop = vector?.watch(() => {
          stop?.()
          resolve()
        })
      })
      buffer.bytes.fill(0)
      queue.add(buffer, true)
      queue.notify()
      await fired
      expect(queue.used).toBe(round)
      expect(queue.written(round - 1)).toBe(64)
      expect(buffer.bytes.some((byte) => byte !== 0)).toBe(true)
    }
    expect(await bench.qmp.virtioStatus('device0')).toMatchObject({ started: true, broken: false })
  })

  it('an interrupt right after enableMsix is not lost: QEMU knows every vector by then', async () => {
    await start({
      devices: ['virtio-net-pci,netdev=n0,vectors=32,id=nic'],
      netdevs: ['user,id=n0'],
      ivshmemVectors: 256,
    })
    const fn = bench.function('nic')
    // the last vector QEMU is told about, of ever more: each round makes new ones
    for (let count = 1; count <= 32; count++) {
      const vectors = fn.enableMsix(count)
      const device = new RawVirtio(fn)
      device.begin(NET_F_STATUS)
      expect(device.setConfigVector(count - 1)).toBe(count - 1)
      device.driverOk()
      await bench.qmp.setLink('nic', count % 2 === 0)
      await until(() => vectors[count - 1]?.drain() === true)
    }
    expect(fn.msixVectors).toBe(32)
  })

  it('vectors are shared by all functions, come back, and run out with a coded error', async () => {
    await start({ devices: ['virtio-rng-pci', 'virtio-rng-pci,vectors=4'], ivshmemVectors: 3 })
    const [first, second] = bench.functions
    expect([first?.msixVectors, second?.msixVectors]).toEqual([2, 3])
    first?.enableMsix(2)
    expect([first?.msixVectors, second?.msixVectors]).toEqual([2, 1])
    expect(() => second?.enableMsix(2)).toThrowError(expect.objectContaining({ code: 'pci.msix-unavailable' }))
    for (const count of [0, -1, 1.5, NaN]) {
      expect(() => second?.enableMsix(count)).toThrowError(expect.objectContaining({ code: 'pci.msix-unavailable' }))
    }
    first?.disableMsix()
    expect(second?.enableMsix(3)).toHaveLength(3)
    await second?.close()
    expect(first?.enableMsix(2)).toHaveLength(2)
  })

  it('a vector that is used again does not start fired', async () => {
    await start({ devices: ['virtio-rng-pci'], ivshmemVectors: 1 })
    const fn = bench.function(0)
    fn.enableMsix(1)
    const device = new RawVirtio(fn)
    device.begin()
    const queue = device.queue(0, 0)
    device.driverOk()
    queue.add(fn.dma.allocate(8), true)
    queue.notify()
    await until(() => queue.used === 1)
    fn.disableMsix()
    const [again] = fn.enableMsix(1)
    expect(again?.drain()).toBe(false)
  })

  it('without ivshmem vectors there is no MSI-X', async () => {
    await start({ devices: ['virtio-rng-pci'], ivshmemVectors: 0 })
    expect(bench.function(0).msixVectors).toBe(0)
    expect(() => bench.function(0).enableMsix(1)).toThrowError(
      expect.objectContaining({ code: 'pci.msix-unavailable' }),
    )
  })
})

requirement('qemu')('INTx', () => {
  it.each(['q35', 'pc'] as const)('%s: fires, again and again, until the ISR is read', async (machine) => {
    await start({ machine, devices: [NET_MODERN], netdevs: ['user,id=n0'] })
    const fn = bench.function('nic')
    const line = fn.intx()
    expect(line).toBeDefined()
    expect(fn.intx()).toBe(line)
    const device = new RawVirtio(fn)
    device.begin(NET_F_STATUS)
    device.driverOk()
    const seen: number[] = []
    const stop = line?.watch(() => {
      // not read at once: a level-triggered line has to come back
      if (seen.push(-1) % 3 === 0) seen.push(device.readIsr())
    })
    for (let change = 1; change <= 5; change++) {
      await bench.qmp.setLink('nic', change % 2 === 0)
      await until(() => seen.filter((isr) => isr > 0 && (isr & 2) !== 0).length === change)
      expect(netStatus(device)).toBe(change % 2 === 0 ? 1 : 0)
    }
    stop?.()
    expect(line?.drain()).toBe(false)
  })

  it('a function behind a root port has its line too', async () => {
    await start({
      devices: ['pcie-root-port,id=port0,chassis=1', 'virtio-net-pci,netdev=n0,bus=port0,id=nic'],
      netdevs: ['user,id=n0'],
    })
    const fn = bench.function('nic')
    expect(fn.address).toBe('0000:01:00.0')
    const line = fn.intx()
    const device = new RawVirtio(fn)
    device.begin(NET_F_STATUS)
    device.driverOk()
    await bench.qmp.setLink('nic', false)
    await until(() => line?.drain() === true)
    expect(device.readIsr() & 2).toBe(2)
  })

  // slots 4 apart have the same line on both machines
  it.each(['q35', 'pc'] as const)('%s: two functions on one line never lose an interrupt', async (machine) => {
    await start({
      machine,
      devices: ['virtio-net-pci,netdev=n0,id=a,addr=4', 'virtio-net-pci,netdev=n1,id=b,addr=8'],
      netdevs: ['user,id=n0', 'user,id=n1'],
    })
    const nics = ['a', 'b'].map((id) => {
      const fn = bench.function(id)
      const device = new RawVirtio(fn)
      const line = fn.intx()
      device.begin(NET_F_STATUS)
      device.driverOk()
      const nic = { id, device, line, changes: 0 }
      line?.watch(() => {
        if ((device.readIsr() & 2) !== 0) nic.changes++
      })
      return nic
    })
    // each raise finds the line in another state: quiet, held by the other, just being lowered
    for (let round = 1; round <= 40; round++) {
      const changes = nics.map(({ changes }) => changes)
      const [first, second] = round % 2 === 0 ? nics : nics.toReversed()
      const one = bench.qmp.setLink(first?.id ?? '', round % 2 === 0)
      const other = bench.qmp.setLink(second?.id ?? '', round % 2 === 0)
      await Promise.all([one, other])
      await until(() => nics.every(({ changes: now }, index) => now > (changes[index] ?? 0)))
    }
  })

  it('a raise while the other function holds the line unserved arrives all the same', async () => {
    await start({
      devices: ['virtio-net-pci,netdev=n0,id=a,addr=4', 'virtio-net-pci,netdev=n1,id=b,addr=8'],
      netdevs: ['user,id=n0', 'user,id=n1'],
    })
    const a = bench.function('a')
    const b = bench.function('b')
    for (const fn of [a, b]) {
      const device = new RawVirtio(fn)
      device.begin(NET_F_STATUS)
      device.driverOk()
    }
    const stuck = a.intx()
    await bench.qmp.setLink('a', false)
    await until(() => stuck?.drain() === true)
    // nobody reads a's ISR: QEMU reports no second edge for b
    const served = b.intx()
    await until(() => served?.drain() === false)
    await bench.qmp.setLink('b', false)
    await until(() => served?.drain() === true)
    expect(new RawVirtio(b).readIsr() & 2).toBe(2)
    await until(() => stuck?.drain() === true)
  })

  it('is off until somebody asks for it, then tells what has been pending', async () => {
    await start({ devices: [NET_MODERN], netdevs: ['user,id=n0'] })
    const fn = bench.function('nic')
    expect(fn.configRead16(PciConfig.COMMAND) & PciCommand.INTX_DISABLE).not.toBe(0)
    const device = new RawVirtio(fn)
    device.begin(NET_F_STATUS)
    device.driverOk()
    await bench.qmp.setLink('nic', false)
    expect(fn.configRead16(PciConfig.STATUS) & PciStatus.INTERRUPT).not.toBe(0)
    const line = fn.intx()
    await until(() => line?.drain() === true)
  })
})

requirement('qemu')('a bench', () => {
  it('close lets interrupts and bus master go, and function() gives a fresh object afterwards', async () => {
    await start({ devices: ['virtio-rng-pci'] })
    const fn = bench.function(0)
    const [vector] = fn.enableMsix(1)
    fn.setBusMaster(true)
    const stop = vector?.watch(() => {})
    await fn.close()
    await fn.close()
    stop?.()
    expect(fn.bar(4).read32(0)).toBe(0xffffffff)
    expect(() => fn.enableMsix(1)).toThrowError(expect.objectContaining({ code: 'pci.gone' }))
    expect(fn.gone).toBe(false)

    const again = bench.function(0)
    expect(again).not.toBe(fn)
    expect(again.configRead16(PciConfig.COMMAND) & PciCommand.BUS_MASTER).toBe(0)
    expect(again.enableMsix(2)).toHaveLength(2)
  })

  it('memory of a closed bench cannot be allocated, but what is out can still be touched', async () => {
    await start({ devices: [] })
    const region = bench.dma.allocate(4096)
    await bench.close()
    region.bytes.fill(1)
    expect(region.bytes[4095]).toBe(1)
    expect(() => bench.dma.allocate(1)).toThrowError(DmaError)
    bench.dma.free(region)
  })
})
