import type { Transport } from '@virtio-ts/core'
import { DeviceStatus, ReservedFeature, featureSet } from '@virtio-ts/spec'
import { PciError } from '@virtio-ts/pci'
import { afterEach, describe, expect, it } from 'vitest'
import { FakeDevice, type FakeQuirks } from './fake-device.fixture.ts'
import { common, FakeFunction, type FakeFunctionOptions, modernCapabilities } from './fake-function.fixture.ts'
import { VirtioPciDriver } from './virtio-pci-driver.ts'

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FAILED, FEATURES_OK } = DeviceStatus
const ALL_OK = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK

const attached: Transport[] = []
afterEach(async () => {
  for (const transport of attached.splice(0)) await transport.close()
})

interface Setup {
  readonly fn: FakeFunction
  readonly device: FakeDevice
  readonly transport: Transport
}

async function setUp(quirks: FakeQuirks = {}, options: FakeFunctionOptions = {}, resetTimeout = 5000): Promise<Setup> {
  const device = options.device ?? new FakeDevice(quirks)
  const fn = new FakeFunction({ ...options, device })
  const transport = await VirtioPciDriver.attach(fn, { resetTimeout })
  attached.push(transport)
  fn.log.length = 0
  return { fn, device, transport }
}

function addresses(fn: FakeFunction) {
  const region = fn.dma.allocate(16384, 4096)
  const at = (offset: number) => (region.deviceAddress + offset) as typeof region.deviceAddress
  return { descriptorArea: at(0), driverArea: at(4096), deviceArea: at(8192) }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('features', () => {
  it('reads four windows of 32 bits', async () => {
    const { fn, device, transport } = await setUp()
    device.features = (0x5n << 96n) | (0x4n << 64n) | (0x3n << 32n) | 0x80000021n
    expect(await transport.deviceFeatures()).toBe(device.features)
    const select = `write32 ${common('DEVICE_FEATURE_SELECT')}`
    const read = `read32 ${common('DEVICE_FEATURE')}`
    expect(fn.log).toEqual([`${select} 0`, read, `${select} 1`, read, `${select} 2`, read, `${select} 3`, read])
  })

  it('writes two windows, and four where the bits need them', async () => {
    const { device, transport } = await setUp()
    await transport.acceptFeatures(0x1_80000020n)
    expect([...device.accepted]).toEqual([
      [0, 0x80000020],
      [1, 1],
    ])
    await transport.acceptFeatures((3n << 65n) | 1n)
    expect([...device.accepted]).toEqual([
      [0, 1],
      [1, 0],
      [2, 6],
      [3, 0],
    ])
  })

  it('§ 2.2 neither shows nor accepts what this transport has no means for', async () => {
    const short = modernCapabilities.map((capability) =>
      capability.type === 1 ? { ...capability, length: 56 } : capability,
    )
    const { device, transport } = await setUp({}, { capabilities: short })
    device.features = featureSet(0, ReservedFeature.VERSION_1, ReservedFeature.RING_RESET)
    const offered = await transport.deviceFeatures()
    expect(offered).toBe(featureSet(0, ReservedFeature.VERSION_1))
    await expect(transport.acceptFeatures(device.features)).rejects.toMatchObject({
      code: 'features.unsupported',
      message: expect.stringContaining('RING_RESET'),
    })
    expect(device.accepted.size).toBe(0)
  })

  it('C12 hides bits whose registers the common configuration is too short for', async () => {
    const short = modernCapabilities.map((capability) =>
      capability.type === 1 ? { ...capability, length: 56 } : capability,
    )
    const { device, transport } = await setUp({}, { capabilities: short })
    device.features = featureSet(1, ReservedFeature.RING_RESET, ReservedFeature.NOTIF_CONFIG_DATA)
    expect(await transport.deviceFeatures()).toBe(featureSet(1))
  })

  it('C9 keeps no copy: what the device says the second time is what is reported', async () => {
    const { device, transport } = await setUp()
    await transport.deviceFeatures()
    device.features = 0x1_0000_0001n
    expect(await transport.deviceFeatures()).toBe(0x1_0000_0001n)
  })
})

describe('status and reset', () => {
  it('writes and reads the byte', async () => {
    const { fn, transport } = await setUp()
    await transport.setStatus(ACKNOWLEDGE)
    await transport.setStatus(ACKNOWLEDGE | DRIVER)
    expect(await transport.status()).toBe(3)
    const at = common('DEVICE_STATUS')
    expect(fn.log).toEqual([`write8 ${at} 1`, `write8 ${at} 3`, `read8 ${at}`])
  })

  it('§ 2.4.2 waits for the status to read 0, without holding up the event loop', async () => {
    const { device, transport } = await setUp({ resetReads: 20 })
    device.status = ALL_OK
    let turns = 0
    const count = setInterval(() => turns++, 0)
    await transport.reset()
    clearInterval(count)
    expect(device.resets).toBe(1)
    expect(turns).toBeGreaterThan(0)
  })

  it('lets the device reach memory only after a confirmed reset', async () => {
    const { fn, transport } = await setUp({ resetReads: 3 })
    fn.device.status = ALL_OK
    expect(fn.busMaster).toBe(false)
    const reset = transport.reset()
    expect(fn.busMaster).toBe(false)
    await reset
    expect(fn.busMaster).toBe(true)
  })

  it('C16 gives up on a reset that never ends, and gives no access to memory', async () => {
    const { fn, transport } = await setUp({ resetReads: Number.POSITIVE_INFINITY }, {}, 30)
    fn.device.status = ALL_OK
    await expect(transport.reset()).rejects.toMatchObject({ code: 'device.reset-timeout' })
    expect(fn.busMaster).toBe(false)
    // The device is there: closing takes what it can away from it.
    await transport.close()
    expect(fn.log.at(-1)).toBe('busMaster off')
  })

  it('setStatus(0) is a reset, with its confirmation', async () => {
    const { device, transport } = await setUp({ resetReads: 4 })
    device.status = 3
    await transport.setStatus(0)
    expect(device.resets).toBe(1)
  })
})

describe('queues', () => {
  it('C5 tells the size of each queue, and 0 beyond the last', async () => {
    const { transport } = await setUp({}, { device: new FakeDevice({}, [256, 0, 64]) })
    expect(await transport.queueSizeMax(0)).toBe(256)
    expect(await transport.queueSizeMax(1)).toBe(0)
    expect(await transport.queueSizeMax(2)).toBe(64)
    expect(await transport.queueSizeMax(3)).toBe(0)
    expect(await transport.queueSizeMax(65535)).toBe(0)
  })

  it('C5 believes num_queues, however many there are', async () => {
    const { transport } = await setUp({ queueCount: 1 })
    expect(await transport.queueSizeMax(0)).toBe(256)
    expect(await transport.queueSizeMax(1)).toBe(0)
    const none = await setUp({ queueCount: 0 })
    expect(await none.transport.queueSizeMax(0)).toBe(0)
  })

  it('§ 4.1.4.3.2 configures everything before enabling, 64-bit addresses as two halves', async () => {
    const { fn, device, transport } = await setUp()
    await transport.reset()
    fn.log.length = 0
    const at = (value: number) => value as ReturnType<typeof addresses>['descriptorArea']
    await transport.enableQueue(1, 64, {
      descriptorArea: at(0x1f_8000_1000),
      driverArea: at(0xffff_fff0),
      deviceArea: at(2 ** 53 - 64),
    })
    const writes = fn.log.filter((entry) => entry.startsWith('write'))
    expect(writes.at(-1)).toBe(`write16 ${common('QUEUE_ENABLE')} 1`)
    expect(writes.filter((entry) => entry.includes('QUEUE_ENABLE'))).toEqual([])
    expect(device.queues[1]).toMatchObject({
      size: 64,
      enable: 1,
      addresses: [0x8000_1000, 0x1f, 0xffff_fff0, 0, 0xffff_ffc0, 0x1f_ffff],
    })
    expect(device.queues[0]?.enable).toBe(0)
  })

  it.each([
    ['C4 a queue that is not there', 7, 64, 'queue.missing'],
    ['C4 more entries than the device allows', 0, 512, 'queue.size-invalid'],
    ['C4 no entries', 0, 0, 'queue.size-invalid'],
  ])('refuses %s', async (_, index, size, code) => {
    const { fn, device, transport } = await setUp()
    await transport.reset()
    await expect(transport.enableQueue(index, size, addresses(fn))).rejects.toMatchObject({
      code,
      details: { queue: index },
    })
    expect(device.queues.every(({ enable }) => enable === 0)).toBe(true)
    transport.notify(index)
    expect(device.notifications).toEqual([])
  })

  it('C4 refuses a device that makes another size of it', async () => {
    const { fn, device, transport } = await setUp({ takesSize: (size) => size / 2 })
    await expect(transport.enableQueue(0, 64, addresses(fn))).rejects.toMatchObject({ code: 'queue.size-invalid' })
    expect(device.queues[0]?.enable).toBe(0)
  })

  it('refuses a queue that is enabled already', async () => {
    const { fn, transport } = await setUp()
    await transport.enableQueue(0, 256, addresses(fn))
    await expect(transport.enableQueue(0, 256, addresses(fn))).rejects.toMatchObject({ code: 'queue.in-use' })
  })
})

describe('notify', () => {
  async function withMultiplier(multiplier: number, length: number): Promise<Setup> {
    const capabilities = modernCapabilities.map((capability) =>
      capability.type === 2 ? { ...capability, multiplier, length } : capability,
    )
    return setUp({}, { capabilities })
  }

  it.each([
    [0, 0x3000],
    [2, 0x3002],
    [4, 0x3004],
    [0x800, 0x3800],
  ])('§ 4.1.5.2.1 writes the index, 16 bits wide, multiplier %i', async (multiplier, offset) => {
    const { fn, device, transport } = await withMultiplier(multiplier, 0x1000)
    await transport.enableQueue(1, 256, addresses(fn))
    transport.notify(1)
    expect(device.notifications).toEqual([{ offset, value: 1 }])
    expect(fn.log.at(-1)).toContain('notify16')
  })

  it('C3 refuses a queue whose notifications would go beyond the structure', async () => {
    // Queue 2's two bytes begin at 8: the last of them is one too far.
    const { fn, device, transport } = await withMultiplier(4, 9)
    await transport.enableQueue(1, 256, addresses(fn))
    await expect(transport.enableQueue(2, 64, addresses(fn))).rejects.toMatchObject({ code: 'transport.notify-bounds' })
    expect(device.queues[2]?.enable).toBe(0)
    const wide = await withMultiplier(0xfffffffe, 0x1000)
    const queue = wide.device.queues[0]
    if (queue) queue.notifyOffset = 0xffff
    await expect(wide.transport.enableQueue(0, 256, addresses(wide.fn))).rejects.toMatchObject({
      code: 'transport.notify-bounds',
    })
  })

  it('writes the device’s own value once NOTIF_CONFIG_DATA is negotiated', async () => {
    const { fn, device, transport } = await setUp()
    device.features = featureSet(ReservedFeature.VERSION_1, ReservedFeature.NOTIF_CONFIG_DATA)
    const queue = device.queues[1]
    if (queue) queue.notifyData = 0xbeef
    await transport.acceptFeatures(device.features)
    await transport.enableQueue(1, 256, addresses(fn))
    transport.notify(1)
    expect(device.notifications).toEqual([{ offset: 0x3004, value: 0xbeef }])
  })

  it('§ 4.1.5.2.1 writes 32 bits with NOTIFICATION_DATA: the index, and above it where the next buffer will be', async () => {
    const { fn, device, transport } = await setUp()
    device.features = featureSet(ReservedFeature.VERSION_1, ReservedFeature.NOTIFICATION_DATA)
    await transport.acceptFeatures(device.features)
    await transport.enableQueue(1, 256, addresses(fn))
    transport.notify(1, 0x8005)
    transport.notify(1, 0)
    expect(device.notifications).toEqual([
      { offset: 0x3004, value: 0x8005_0001 },
      { offset: 0x3004, value: 1 },
    ])
    expect(fn.log.filter((line) => line.startsWith('notify16'))).toEqual([])
  })

  it('§ 4.1.5.2.1 writes 32 bits of the device’s own value where both are negotiated', async () => {
    const { fn, device, transport } = await setUp()
    device.features = featureSet(
      ReservedFeature.VERSION_1,
      ReservedFeature.NOTIFICATION_DATA,
      ReservedFeature.NOTIF_CONFIG_DATA,
    )
    const queue = device.queues[0]
    if (queue) queue.notifyData = 0xbeef
    await transport.acceptFeatures(device.features)
    await transport.enableQueue(0, 256, addresses(fn))
    transport.notify(0, 0xffff)
    expect(device.notifications).toEqual([{ offset: 0x3000, value: 0xffff_beef }])
  })

  it('C3 refuses a notification address without room for 32 bits, or not aligned for them', async () => {
    for (const { multiplier, length } of [
      { multiplier: 4, length: 7 },
      { multiplier: 2, length: 100 },
    ]) {
      const { fn, device, transport } = await withMultiplier(multiplier, length)
      device.features |= featureSet(ReservedFeature.NOTIFICATION_DATA)
      await transport.acceptFeatures(device.features)
      await expect(transport.enableQueue(1, 256, addresses(fn))).rejects.toMatchObject({
        code: 'transport.notify-bounds',
      })
    }
  })

  it('says nothing of a queue that is not enabled, was reset, or whose device was', async () => {
    const { fn, device, transport } = await setUp()
    transport.notify(0)
    await transport.enableQueue(0, 256, addresses(fn))
    await transport.reset()
    transport.notify(0)
    transport.notify(65535)
    transport.notify(-1)
    expect(device.notifications).toEqual([])
  })
})

describe('queue reset', () => {
  async function negotiated(quirks: FakeQuirks, resetTimeout = 5000): Promise<Setup> {
    const setup = await setUp(quirks, {}, resetTimeout)
    setup.device.features |= featureSet(ReservedFeature.RING_RESET)
    await setup.transport.reset()
    await setup.transport.acceptFeatures(await setup.transport.deviceFeatures())
    await setup.transport.enableQueue(1, 256, addresses(setup.fn))
    return setup
  }

  it('§ 2.6.1.1.2 verifies that the queue has been reset, and can enable it again', async () => {
    const { fn, device, transport } = await negotiated({ queueResetReads: 12 })
    const reset = transport.resetQueue(1)
    // Whoever selects another queue meanwhile must not confuse the waiting.
    await transport.queueSizeMax(0)
    transport.notify(1)
    await reset
    expect(device.notifications).toEqual([])
    expect(device.queues[1]).toMatchObject({ enable: 0, reset: 0 })
    await transport.enableQueue(1, 256, addresses(fn))
    transport.notify(1)
    expect(device.notifications).toHaveLength(1)
  })

  it('C17 gives up on a queue reset that is not confirmed', async () => {
    const { transport } = await negotiated({ queueResetReads: Number.POSITIVE_INFINITY }, 30)
    await expect(transport.resetQueue(1)).rejects.toMatchObject({ code: 'queue.reset-timeout', details: { queue: 1 } })
  })

  it('C17 does not believe queue_reset alone while the queue is still enabled', async () => {
    const { device, transport } = await negotiated({ queueResetReads: 1 }, 30)
    Object.defineProperty(device.queues[1], 'enable', { get: () => 1, set: () => {} })
    await expect(transport.resetQueue(1)).rejects.toMatchObject({ code: 'queue.reset-timeout' })
  })

  it('is refused where RING_RESET was not negotiated', async () => {
    const { fn, transport } = await setUp()
    await transport.enableQueue(0, 256, addresses(fn))
    await expect(transport.resetQueue(0)).rejects.toMatchObject({ code: 'queue.no-reset' })
  })
})

describe('device configuration', () => {
  const bytes = async (transport: Transport, offset: number, length: number): Promise<number[]> => {
    const into = new Uint8Array(length)
    await transport.readConfig(offset, into)
    return [...into]
  }

  it('§ 4.1.3.1 reads fields with their own width', async () => {
    const { fn, transport } = await setUp()
    expect(await bytes(transport, 6, 2)).toEqual([0x16, 0x17])
    expect(await bytes(transport, 4, 4)).toEqual([0x14, 0x15, 0x16, 0x17])
    expect(await bytes(transport, 8, 8)).toEqual([0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f])
    expect(await bytes(transport, 17, 1)).toEqual([0x21])
    expect(await bytes(transport, 0, 6)).toEqual([0x10, 0x11, 0x12, 0x13, 0x14, 0x15])
    const reads = fn.log.filter((entry) => entry.includes('bar4+0x20'))
    expect(reads.map((entry) => entry.split(' ')[0])).toEqual([
      'read16',
      'read32',
      'read32',
      'read32',
      'read8',
      ...Array(6).fill('read8'),
    ])
  })

  it('reads a range that is no aligned field byte by byte, up to the last byte', async () => {
    const { device, transport } = await setUp()
    device.config = Uint8Array.of(1, 2, 3, 4, 5, 6, 7)
    // QEMU's answer to an access that crosses the end is all-ones: no access may.
    expect(await bytes(transport, 0, 7)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(await bytes(transport, 3, 4)).toEqual([4, 5, 6, 7])
    expect(await bytes(transport, 5, 2)).toEqual([6, 7])
  })

  it('writes with the same widths', async () => {
    const { fn, device, transport } = await setUp()
    await transport.writeConfig(0, Uint8Array.of(0xff, 0xfe, 0xfd, 0xfc))
    await transport.writeConfig(6, Uint8Array.of(0xaa, 0xbb))
    await transport.writeConfig(9, Uint8Array.of(1, 2, 3))
    expect([...device.config.subarray(0, 12)]).toEqual([0xff, 0xfe, 0xfd, 0xfc, 0x14, 0x15, 0xaa, 0xbb, 0x18, 1, 2, 3])
    expect(fn.log.map((entry) => entry.split(' ')[0])).toEqual(['write32', 'write16', 'write8', 'write8', 'write8'])
  })

  it.each([
    [0x1000, 1],
    [0xfff, 2],
    [-1, 1],
    [0.5, 1],
  ])('refuses %d+%d, beyond the space', async (offset, length) => {
    const { transport } = await setUp()
    expect(transport.configLength).toBe(0x1000)
    await expect(transport.readConfig(offset, new Uint8Array(length))).rejects.toMatchObject({ code: 'config.bounds' })
    await expect(transport.writeConfig(offset, new Uint8Array(length))).rejects.toMatchObject({ code: 'config.bounds' })
  })

  it('C11 § 2.5.1 never returns a range that changed while it was read', async () => {
    let changes = 0
    const { device, transport } = await setUp({
      beforeConfigRead: (it) => {
        // Flips between two contents at every seventh access, and says so.
        if (++changes % 7 === 0) {
          it.config.fill(changes & 1 ? 0xaa : 0x55)
          it.generation++
        }
      },
    })
    device.config.fill(0x55)
    for (let i = 0; i < 500; i++) expect(new Set(await bytes(transport, 0, 3)).size).toBe(1)
  })

  it('C10 gives up on a configuration that never stands still', async () => {
    let reads = 0
    const { transport } = await setUp({
      beforeConfigRead: (it) => {
        reads++
        it.generation++
      },
    })
    await expect(bytes(transport, 0, 6)).rejects.toMatchObject({ code: 'config.unstable' })
    expect(reads).toBe(64 * 8)
  })
})

describe('a device that goes away', () => {
  const methods: readonly (readonly [string, (setup: Setup) => Promise<unknown>])[] = [
    ['deviceFeatures', ({ transport }) => transport.deviceFeatures()],
    ['status', ({ transport }) => transport.status()],
    ['reset', ({ transport }) => transport.reset()],
    ['queueSizeMax', ({ transport }) => transport.queueSizeMax(0)],
    ['readConfig', ({ transport }) => transport.readConfig(0, new Uint8Array(6))],
  ]

  it.each(methods)('C6 all registers read all-ones: %s says gone, and nothing is touched after', async (_, method) => {
    const setup = await setUp()
    const { fn, transport } = setup
    await transport.reset()
    const reasons: Error[] = []
    transport.onGone((reason) => reasons.push(reason))
    fn.dead = 1
    await expect(method(setup)).rejects.toMatchObject({ code: 'device.gone' })
    await turn()
    expect(reasons).toMatchObject([{ code: 'device.gone' }])
    // Its configuration space still answers, so it is kept from memory, which may be given back now.
    expect(fn.busMaster).toBe(false)
    const accesses = fn.log.length
    await expect(transport.status()).rejects.toMatchObject({ code: 'device.gone' })
    await expect(transport.setStatus(1)).rejects.toMatchObject({ code: 'device.gone' })
    transport.notify(0)
    await transport.close()
    expect(fn.log.slice(accesses).filter((entry) => entry.includes('bar4'))).toEqual([])
  })

  it.each(methods)('C6 all registers read 0, as on QEMU, and configuration space all-ones: %s', async (_, method) => {
    const setup = await setUp()
    await setup.transport.reset()
    setup.fn.dead = 0
    setup.fn.config.fill(0xff)
    await expect(method(setup)).rejects.toMatchObject({ code: 'device.gone' })
  })

  it('C6 a reset that reads 0 because nothing decodes the registers is no confirmation', async () => {
    const { fn, transport } = await setUp()
    await transport.reset()
    fn.dead = 0
    fn.config[4] = 0x01
    await expect(transport.reset()).rejects.toMatchObject({ code: 'device.gone' })
    expect(fn.busMaster).toBe(false)
  })

  it('C6 a reset in progress ends when the function goes', async () => {
    const { fn, transport } = await setUp({ resetReads: Number.POSITIVE_INFINITY })
    fn.device.status = ALL_OK
    const reset = transport.reset()
    setTimeout(() => fn.unplug(), 5)
    await expect(reset).rejects.toMatchObject({ code: 'device.gone' })
  })

  it('tells each listener once, and late ones at once', async () => {
    const { fn, transport } = await setUp()
    const told: string[] = []
    transport.onGone(() => told.push('first'))
    transport.onGone(() => told.push('second'))
    fn.unplug()
    fn.unplug()
    await turn()
    transport.onGone((reason) => told.push(`late, ${(reason.cause as Error).message}`))
    await turn()
    expect(told).toEqual(['first', 'second', 'late, unplugged'])
    expect(transport.configLength).toBe(0)
  })

  it('C21 a notification that fails means gone, and does not throw', async () => {
    const { fn, transport } = await setUp()
    await transport.reset()
    await transport.enableQueue(0, 256, addresses(fn))
    const reasons: Error[] = []
    transport.onGone((reason) => reasons.push(reason))
    fn.failure = new PciError('pci.access', 'EIO')
    transport.notify(0)
    transport.notify(0)
    fn.unplug()
    await turn()
    expect(reasons).toMatchObject([{ code: 'device.gone', cause: { message: 'EIO' } }])
    // The first reason stays the reason.
    await expect(transport.status()).rejects.toMatchObject({ cause: { message: 'EIO' } })
  })

  it('passes on what else a bus throws under its code, and goes on', async () => {
    const { fn, transport } = await setUp()
    fn.failure = new PciError('pci.access', 'permission denied')
    await expect(transport.status()).rejects.toMatchObject({ name: 'VirtioError', code: 'pci.access' })
    fn.failure = new TypeError('no code')
    await expect(transport.status()).rejects.toMatchObject({ name: 'VirtioError', code: 'transport.bus' })
    fn.failure = undefined
    await expect(transport.status()).resolves.toBe(0)
  })
})

describe('close', () => {
  it('resets a device at work first, then takes memory away, once', async () => {
    const { fn, device, transport } = await setUp({ resetReads: 3 })
    await transport.reset()
    await transport.setStatus(ALL_OK)
    fn.log.length = 0
    await Promise.all([transport.close(), transport.close()])
    await transport.close()
    expect(device.resets).toBe(2)
    expect(fn.log.filter((entry) => entry === 'busMaster off')).toHaveLength(1)
    expect(fn.log.at(-1)).toBe('busMaster off')
    expect(fn.busMaster).toBe(false)
    expect(fn.closed).toBe(0)
    expect(fn.goneListeners).toBe(0)
  })

  it('leaves FAILED standing', async () => {
    const { device, transport } = await setUp()
    await transport.reset()
    await transport.setStatus(ALL_OK | FAILED)
    await transport.close()
    expect(device.status).toBe(ALL_OK | FAILED)
  })

  it('ends on a device that does not answer the reset', async () => {
    const { fn, transport } = await setUp({}, {}, 20)
    await transport.reset()
    await transport.setStatus(ALL_OK)
    fn.device.quirks.resetReads = Number.POSITIVE_INFINITY
    await transport.close()
    expect(fn.busMaster).toBe(false)
  })

  it('refuses everything afterwards, and touches nothing', async () => {
    const { fn, transport } = await setUp()
    await transport.reset()
    await transport.enableQueue(0, 256, addresses(fn))
    await transport.close()
    fn.log.length = 0
    await expect(transport.status()).rejects.toMatchObject({ code: 'transport.closed' })
    await expect(transport.reset()).rejects.toMatchObject({ code: 'transport.closed' })
    await expect(transport.setUpInterrupts(2, 'auto')).rejects.toMatchObject({ code: 'transport.closed' })
    transport.notify(0)
    expect(transport.configLength).toBe(0)
    expect(fn.log).toEqual([])
  })

  it('lets another transport have the function', async () => {
    const { fn, transport } = await setUp()
    await transport.reset()
    await transport.setUpInterrupts(2, 'auto')
    await transport.close()
    const next = await VirtioPciDriver.attach(fn)
    attached.push(next)
    await next.reset()
    expect(await next.setUpInterrupts(2, 'auto')).toEqual({ mode: 'msix', vectors: 3 })
  })
})
