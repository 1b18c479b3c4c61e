import type { Transport } from '@virtio-ts/core'
import { DeviceStatus, splitRingLayout } from '@virtio-ts/spec'
import { describe, expect, it } from 'vitest'
import { FakeDevice, type FakeQuirks } from './fake-device.fixture.ts'
import { FakeFunction } from './fake-function.fixture.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

const { ACKNOWLEDGE, DRIVER, DRIVER_OK } = DeviceStatus

async function setUp(quirks: FakeQuirks = {}, options: { msix?: number; queueSizes?: number[] } = {}) {
  const device = new FakeDevice(quirks, options.queueSizes)
  const fn = new FakeFunction({
    device,
    deviceId: 0x1000,
    revision: 0,
    capabilities: [],
    bars: { 0: 64 },
    msix: options.msix ?? 4,
  })
  const transport = await VirtioPciDriver.attach(fn, { resetTimeout: 100 })
  fn.log.length = 0
  return { fn, device, transport }
}

const bytes = async (transport: Transport, offset: number, length: number): Promise<number[]> => {
  const into = new Uint8Array(length)
  await transport.readConfig(offset, into)
  return [...into]
}

/** The legacy layout's three areas, from a place on. */
function ringAt(start: number, size: number) {
  const layout = splitRingLayout(size, true)
  const at = (offset: number) => (start + offset) as Parameters<Transport['enableQueue']>[2]['descriptorArea']
  return { descriptorArea: at(0), driverArea: at(layout.driverArea), deviceArea: at(layout.deviceArea) }
}

describe('legacy interface', () => {
  it('has 32 feature bits and no more', async () => {
    const { device, transport } = await setUp()
    device.features = 0x1_0000_0021n
    expect(await transport.deviceFeatures()).toBe(0x21n)
    await transport.acceptFeatures(0x20n)
    expect(device.accepted.get(0)).toBe(0x20)
    await expect(transport.acceptFeatures(1n << 32n)).rejects.toMatchObject({ code: 'features.unsupported' })
  })

  it('resets and sets status bits', async () => {
    const { device, transport } = await setUp({ resetReads: 3 })
    device.status = ACKNOWLEDGE
    await transport.reset()
    await transport.setStatus(ACKNOWLEDGE | DRIVER)
    expect(await transport.status()).toBe(3)
    expect(device.resets).toBe(1)
  })

  it('§ 4.1.4.10 finds device configuration at 20, at 24 while MSI-X is on, and at 20 again', async () => {
    const { fn, transport } = await setUp()
    const first = fn.device.config[0]
    expect(await bytes(transport, 0, 1)).toEqual([first])
    expect(fn.log).toContain('read8 bar0+0x14')
    expect(transport.configLength).toBe(44)

    await transport.setUpInterrupts(2, 'auto')
    fn.log.length = 0
    expect(await bytes(transport, 0, 1)).toEqual([first])
    expect(fn.log).toContain('read8 bar0+0x18')
    expect(fn.log).not.toContain('read8 bar0+0x14')
    expect(transport.configLength).toBe(40)

    await transport.setUpInterrupts(2, 'none')
    fn.log.length = 0
    expect(await bytes(transport, 0, 1)).toEqual([first])
    expect(fn.log).toContain('read8 bar0+0x14')
  })

  it('goes by the enable bit, whoever set it', async () => {
    const { fn, transport } = await setUp()
    fn.msixEnabled = true
    await transport.writeConfig(4, Uint8Array.of(7))
    expect(fn.log).toEqual(['write8 bar0+0x1c 7'])
    expect(fn.device.config[4]).toBe(7)
  })

  it('stays at 20 for a function without MSI-X', async () => {
    const { fn, transport } = await setUp({}, { msix: 0 })
    await bytes(transport, 0, 4)
    expect(fn.log).toEqual(['read32 bar0+0x14', 'read32 bar0+0x14'])
  })

  it('§ 4.1.5.1.3.1 gives the address of the ring in pages of 4096 bytes', async () => {
    const { fn, device, transport } = await setUp()
    await transport.reset()
    await transport.enableQueue(2, 64, ringAt(0xfff_ffff_f000, 64))
    expect(device.queues[2]?.page).toBe(0xffff_ffff)
    transport.notify(2)
    expect(fn.log.at(-1)).toBe('notify16 bar0+0x10 2')
  })

  it.each([
    ['page 0, which resets the device', 0],
    ['no multiple of 4096', 0x10800],
    ['above 2^44', 2 ** 44],
    ['far above', 2 ** 52],
  ])('refuses a ring at %s', async (_, start) => {
    const { fn, device, transport } = await setUp()
    await transport.reset()
    await transport.setStatus(ACKNOWLEDGE | DRIVER)
    fn.log.length = 0
    await expect(transport.enableQueue(0, 256, ringAt(start, 256))).rejects.toMatchObject({
      code: 'queue.address-invalid',
    })
    expect(device.status).toBe(3)
    expect(fn.log.filter((entry) => entry.startsWith('write32'))).toEqual([])
  })

  it('refuses areas that do not follow each other', async () => {
    const { transport } = await setUp()
    const ring = ringAt(0x10000, 256)
    await expect(transport.enableQueue(0, 256, { ...ring, deviceArea: ring.descriptorArea })).rejects.toMatchObject({
      code: 'queue.address-invalid',
    })
    await expect(transport.enableQueue(0, 256, { ...ring, driverArea: ring.deviceArea })).rejects.toMatchObject({
      code: 'queue.address-invalid',
    })
  })

  it.each([
    ['C4 another size than the device dictates', 0, 128, 'queue.size-invalid'],
    ['C4 a queue that is not there', 3, 64, 'queue.missing'],
  ])('refuses %s', async (_, index, size, code) => {
    const { transport } = await setUp()
    await expect(transport.enableQueue(index, size, ringAt(0x10000, size))).rejects.toMatchObject({ code })
  })

  it('refuses a queue that has an address', async () => {
    const { transport } = await setUp()
    await transport.enableQueue(0, 256, ringAt(0x10000, 256))
    await expect(transport.enableQueue(0, 256, ringAt(0x20000, 256))).rejects.toMatchObject({ code: 'queue.in-use' })
  })

  it('C5 sees no queue where the selection does not take: VirtualBox 4 shows the one before', async () => {
    const { transport } = await setUp({ lastSelectable: 2 }, { queueSizes: [256, 256, 16] })
    expect(await transport.queueSizeMax(2)).toBe(16)
    expect(await transport.queueSizeMax(3)).toBe(0)
    expect(await transport.queueSizeMax(5)).toBe(0)
  })

  it('C11 § 2.5.4 reads until two readings agree', async () => {
    let reads = 0
    const { device, transport } = await setUp({
      beforeConfigRead: (it) => {
        if (++reads <= 9) it.config.fill(reads)
      },
    })
    expect(new Set(await bytes(transport, 0, 6)).size).toBe(1)
    expect(device.config[0]).toBe(9)
  })

  it('C10 gives up on a configuration that never stands still', async () => {
    let reads = 0
    const { transport } = await setUp({
      beforeConfigRead: (it) => {
        it.config[0] = reads++ & 0xff
      },
    })
    await expect(bytes(transport, 0, 1)).rejects.toMatchObject({ code: 'config.unstable' })
    expect(reads).toBe(64)
  })

  it('binds vectors after MSI-X is on, and reads back', async () => {
    const { fn, device, transport } = await setUp()
    await transport.reset()
    fn.log.length = 0
    expect(await transport.setUpInterrupts(2, 'auto')).toEqual({ mode: 'msix', vectors: 3 })
    expect(fn.log[0]).toBe('enableMsix 3')
    await transport.enableQueue(0, 256, ringAt(0x10000, 256))
    await transport.enableQueue(1, 256, ringAt(0x20000, 256))
    expect(device.configVector).toBe(0)
    expect(device.queues.map(({ vector }) => vector)).toEqual([1, 2, 0xffff])
  })

  it('never writes vectors where device configuration is', async () => {
    const { fn, transport } = await setUp({}, { msix: 0 })
    await transport.reset()
    expect(await transport.setUpInterrupts(2, 'auto')).toEqual({ mode: 'intx', vectors: 0 })
    await transport.enableQueue(0, 256, ringAt(0x10000, 256))
    expect(
      fn.log.filter(
        (entry) => entry.startsWith('write') && entry.includes('bar0+0x1') && / bar0\+0x(14|16)/.test(entry),
      ),
    ).toEqual([])
  })

  it('cannot reset a single queue', async () => {
    const { transport } = await setUp()
    await expect(transport.resetQueue(0)).rejects.toMatchObject({ code: 'queue.no-reset' })
  })

  it('C6 says gone when all registers read all-ones', async () => {
    const { fn, transport } = await setUp()
    await transport.reset()
    await transport.setStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK)
    fn.dead = 1
    await expect(transport.reset()).rejects.toMatchObject({ code: 'device.gone' })
  })
})
